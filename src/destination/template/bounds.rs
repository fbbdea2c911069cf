//! How large a template may be, so that neither reading it nor what it makes needs more stack than a thread has.
//!
//! minijinja bounds how deep brackets and blocks nest (150 levels), not how long its chains are, and each link of
//! `not not …`, `a.b.c…`, `1+1+1…`, `x|f|f…` or `{% elif %}` nests one level deeper. Measured in a debug build: a word
//! or sign costs at most 400 bytes of stack, the 150 levels half a megabyte together. So 2,000 of them need less
//! than 1.3 of the 2 MiB of a thread. A value can nest no deeper than there are signs to write it, except by what
//! repeats: loops that call themselves are refused here, and `namespace` is taken away.

use minijinja::Environment;
use minijinja::machinery::{Token, tokenize};

/// The longest template, in bytes.
const MAX_BYTES: usize = 64 << 10;
/// Words and signs inside of `{{ }}` and `{% %}`, those included, over a whole template.
const MAX_TOKENS: usize = 2_000;

/// Whether a template is no larger than can be read. One with an error in it is left to the reader, which meets the
/// error before it gets further than this did.
///
/// # Errors
/// What is too much, with its line; repeats nothing of the template.
pub(in crate::destination) fn check(template: &str) -> Result<(), String> {
    if template.len() > MAX_BYTES {
        return Err("it has more than 64 KiB".to_owned());
    }
    let (mut count, mut opens, mut is_loop, mut is_recursive) = (0, false, false, false);
    for token in tokenize(template, false, minijinja::syntax::SyntaxConfig::default()) {
        let Ok((token, span)) = token else { break };
        if matches!(token, Token::TemplateData(_)) {
            continue;
        }
        count += 1;
        if count > MAX_TOKENS {
            return Err(format!(
                "line {}: more than 2,000 words and signs in `{{{{ }}}}` and `{{% %}}`",
                span.start_line
            ));
        }
        if is_loop && is_recursive && matches!(token, Token::BlockEnd) {
            return Err(format!("line {}: a loop that calls itself (`recursive`)", span.start_line));
        }
        is_loop = if opens { matches!(token, Token::Ident("for")) } else { is_loop };
        is_recursive = matches!(token, Token::Ident("recursive"));
        opens = matches!(token, Token::BlockStart);
    }
    Ok(())
}

/// Takes away what makes values nest without end.
pub(in crate::destination) fn confine(environment: &mut Environment<'_>) {
    environment.remove_global("namespace");
}
