//! The language of cache keys: what CircleCI's users write of Go's text/template.
//!
//! Text with actions between `{{` and `}}`; `{{-` and `-}}` take white space away; `{{/* … */}}` is a
//! comment. An action is a field (`.Branch`, `.Environment.NAME`), a function (`checksum "file"`,
//! `epoch`, `arch`, `os_arch`), a string, or one of these in parentheses or passed on by `|`. Control structures
//! and other functions of Go's language are refused by name. Errors read as Go's do: people grep for them.

mod eval;
mod parse;

pub use eval::{Values, arch, os_arch};

/// Why a key could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error computing cache key: template: cacheKey:{0}")]
pub struct TemplateError(String);

/// Computes the key of a template.
pub fn render(template: &str, values: &dyn Values) -> Result<String, TemplateError> {
    let nodes = parse::parse(template).map_err(TemplateError)?;
    let mut key = String::new();
    for node in &nodes {
        match node {
            parse::Node::Text(text) => key.push_str(text),
            parse::Node::Action(action) => {
                key.push_str(&eval::action(action, values).map_err(TemplateError)?);
            }
        }
    }
    Ok(key)
}

#[cfg(test)]
mod tests;
