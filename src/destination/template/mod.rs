//! Requests by templates of one's own (minijinja, <https://docs.rs/minijinja>).
//!
//! What makes them fit for an audit trail: a variable that is not there is an error, never an empty text; in
//! JSON every value is written as JSON, whatever it holds (`json`); and no template, nor any event, can make
//! one run long or become large.

pub(super) mod bounds;
mod json;
mod samples;

use std::fmt;

use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

pub use samples::samples;

use super::Delivery;
use super::envelope::envelope;
use crate::config::plan::TemplatePlan;
use crate::config::secret::Secret;
use crate::destination::Message;
use crate::event::text::one_line;

/// The largest body that a template may make, in bytes.
const MAX_BODY_BYTES: usize = 1 << 20;
/// How much a rendering may do: about so many steps, or 64 times as many bytes.
const FUEL: u64 = 250_000;
/// The name of the body's template; headers go by theirs, which are in lower case.
const BODY: &str = "BODY";
/// Longer explanations are cut off here.
const MESSAGE_CHARACTERS: usize = 200;

/// The templates of one destination, ready to render.
pub struct Template {
    body: Environment<'static>,
    headers: Environment<'static>,
    names: Vec<String>,
    form: Form,
}

/// Shows no template: people write tokens into them.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("headers", &self.names)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

/// What a template made of one record.
#[derive(Debug, PartialEq, Eq)]
pub struct Made {
    /// The body.
    pub body: Vec<u8>,
    /// Further headers, names in lower case.
    pub headers: Vec<(String, Secret)>,
}

/// Why a template cannot be used at all, or not for one record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// The key of the configuration below `template`: `body`, or `headers.NAME`.
    pub key: String,
    /// What is wrong, with the line of the template; of the templates of headers, which may hold secrets,
    /// it repeats nothing.
    pub message: Message,
}

/// What a content type wants of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One JSON text.
    Json,
    /// Any number of them.
    JsonSequence,
    /// HTML or XML.
    Markup,
    /// Anything else.
    Text,
}

impl Form {
    fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match &*essence {
            json if json.ends_with("/json") || json.ends_with("+json") => Self::Json,
            json if json.contains("json") => Self::JsonSequence,
            markup if markup.contains("html") || markup.contains("xml") => Self::Markup,
            _ => Self::Text,
        }
    }

    const fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::JsonSequence)
    }
}

impl Template {
    /// Reads the templates of a plan.
    ///
    /// # Errors
    /// The first that is none, and why.
    pub fn new(plan: &TemplatePlan) -> Result<Self, TemplateError> {
        let form = Form::of(&plan.content_type);
        let mut body = environment(if form == Form::Markup { AutoEscape::Html } else { AutoEscape::None });
        if form.is_json() {
            json::prepare(&mut body);
        }
        if plan.body.expose().contains(json::MARKS) {
            let message = "a control character (U+0001 or U+0002)".into();
            return Err(TemplateError { key: "body".into(), message });
        }
        bounds::check(plan.body.expose())
            .map_err(|why| TemplateError { key: "body".into(), message: why.into() })?;
        body.add_template_owned(BODY, plan.body.expose().to_owned())
            .map_err(|error| TemplateError { key: "body".into(), message: explained(&error) })?;
        let mut headers = environment(AutoEscape::None);
        for (name, template) in &plan.headers {
            bounds::check(template.expose()).map_err(|why| TemplateError {
                key: format!("headers.{name}"),
                message: format!("header {name}: {why}").into(),
            })?;
            headers
                .add_template_owned(name.clone(), template.expose().to_owned())
                .map_err(|error| header_error(name, &error))?;
        }
        let names = plan.headers.iter().map(|(name, _)| name.clone()).collect();
        Ok(Self { body, headers, names, form })
    }

    /// Renders one record; `None` where nothing but whitespace comes out: the template leaves it out.
    ///
    /// # Errors
    /// When the template fails for this record, or makes what cannot be sent.
    pub fn render(&self, delivery: &Delivery) -> Result<Option<Made>, TemplateError> {
        let mut whole = Vec::new();
        envelope(delivery, &mut whole);
        let fail = |message: Message| TemplateError { key: "body".into(), message };
        let fields =
            json::fields(&whole).map_err(|why| fail(format!("the record cannot be read: {why}").into()))?;
        let template = self.body.get_template(BODY).map_err(|error| fail(explained(&error)))?;
        let text = template
            .render(json::context(&fields, &whole, self.form.is_json()))
            .map_err(|error| fail(explained(&error)))?;
        let text = if self.form.is_json() { json::resolved(&text) } else { text };
        if text.trim().is_empty() {
            return Ok(None);
        }
        if text.len() > MAX_BODY_BYTES {
            return Err(fail(format!("the body has {} bytes, more than 1 MiB", text.len()).into()));
        }
        if self.form.is_json() {
            json::check(&text, self.form == Form::Json)
                .map_err(|why| fail(format!("the body is not JSON: {why}").into()))?;
        }
        let mut headers = Vec::with_capacity(self.names.len());
        if !self.names.is_empty() {
            let context = json::context(&fields, &whole, false);
            for name in &self.names {
                headers.push(self.header(name, context.clone())?);
            }
        }
        Ok(Some(Made { body: text.into_bytes(), headers }))
    }

    fn header(&self, name: &str, context: minijinja::Value) -> Result<(String, Secret), TemplateError> {
        let rendered = self.headers.get_template(name).and_then(|template| template.render(context));
        let value = rendered.map_err(|error| header_error(name, &error))?;
        let value = value.trim();
        if value.is_empty() || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            let message = format!("header {name}: the value is not visible ASCII in one line").into();
            return Err(TemplateError { key: format!("headers.{name}"), message });
        }
        Ok((name.to_owned(), Secret::new(value)))
    }
}

fn environment(escape: AutoEscape) -> Environment<'static> {
    let mut environment = Environment::new();
    bounds::confine(&mut environment);
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_fuel(Some(FUEL));
    // So errors name what is undefined. They hold values too, which only their `Debug` shows.
    environment.set_debug(true);
    environment.set_auto_escape_callback(move |_| escape.clone());
    environment
}

/// `line 3: payload.key is undefined`.
pub(super) fn explained(error: &Error) -> Message {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let own = |what: &str| one_line(&format!("{line}{what}"), MESSAGE_CHARACTERS).into();
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => own("it takes too long, or makes too much"),
        // This names what stands in the template; other details may repeat values.
        (ErrorKind::UndefinedError, Some(detail)) => own(detail),
        (kind, Some(detail)) => {
            let before = format!("{line}{kind}");
            let room = MESSAGE_CHARACTERS.saturating_sub(before.chars().count() + 2);
            Message::quoting(&before, &one_line(detail, room), "")
        }
        (kind, None) => own(&kind.to_string()),
    }
}

fn header_error(name: &str, error: &Error) -> TemplateError {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    TemplateError {
        key: format!("headers.{name}"),
        message: format!("header {name}: {line}{}", error.kind()).into(),
    }
}
