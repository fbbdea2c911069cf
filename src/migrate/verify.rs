//! Looks whether what is written is right, as `audit-relay check --no-environment` does.

use crate::config::plan::TemplatePlan;
use crate::config::secret::Secret;
use crate::config::{LoadOptions, Place, Problem, References, Watched, load_text};
use crate::destination::template;
use crate::event::text::one_line;

/// Longer sentences are cut off here.
const SENTENCE_CHARACTERS: usize = 300;

/// What our own loader says against a configuration, a sentence each; secrets and files are not looked for.
pub(super) fn problems(yaml: &str) -> Vec<String> {
    let options = LoadOptions {
        config: None,
        environment: Vec::new(),
        references: References::Ignore,
        allow_inline_secrets: false,
    };
    match load_text(yaml, "config.yaml".into(), &options, &mut Watched::default()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(sentence).collect(),
    }
}

fn sentence(problem: &Problem) -> String {
    let line = match &problem.place {
        Place::File { line, .. } if *line > 0 => format!("line {line}: "),
        _ => String::new(),
    };
    let mut without_place = problem.clone();
    without_place.place = Place::Whole;
    let without_place = without_place.to_string();
    let said = without_place.trim_start_matches(&format!("{}: ", Place::Whole)).to_owned();
    one_line(&format!("{line}{said}"), SENTENCE_CHARACTERS)
}

/// Why a body is no template of ours.
pub(super) fn body_problem(body: &str) -> Option<String> {
    let mut rest = body.to_owned();
    for comment in ["{#- #}", "{# -#}", "{#- -#}", "{# #}"] {
        rest = rest.replace(comment, "");
    }
    if rest.trim().is_empty() {
        return Some("it makes nothing".to_owned());
    }
    let content_type = "application/json".to_owned();
    let plan = TemplatePlan { body: Secret::new(body), headers: Vec::new(), content_type };
    template::Template::new(&plan).err().map(|error| error.message.to_string())
}
