//! What was found to be other than it was made, in words. Names come from whoever planted the files: they
//! are shortened and escaped, so that none can write a line of a log.

use std::collections::BTreeMap;
use std::fmt;

use miosa_injector::model::ResourceId;
use serde::{Deserialize, Serialize};

/// All that is wrong now, by path. Empty: nothing is.
pub(crate) type TamperReport = BTreeMap<String, Tampered>;

/// A place where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tampered {
    /// Whose directory it is; none: it is of the runtime directory itself.
    pub(crate) resource: Option<String>,
    /// The directory or socket.
    pub(crate) path: String,
    /// What is wrong.
    pub(crate) found: Vec<Finding>,
    /// What to do about it.
    pub(crate) advice: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// The stable word: `directory_gone`, `directory_replaced`, `directory_changed`, `socket_gone`,
    /// `socket_replaced`, `socket_changed` or `planted`.
    pub(crate) what: String,
    /// The same for people.
    pub(crate) message: String,
}

impl Tampered {
    /// In the directory of a resource.
    pub(super) fn resource(id: &ResourceId, path: String, found: Vec<Finding>) -> Self {
        let advice = "end what runs in that sandbox, mount the directory read-only, then remove the resource and \
                      place it anew";
        Self { resource: Some(id.to_string()), path, found, advice: advice.to_owned() }
    }

    /// In the runtime directory, where only root and this daemon may write.
    pub(super) fn runtime(path: String, found: Vec<Finding>) -> Self {
        let advice =
            "find out who changed it, restart miosad, and start every sandbox anew that mounted what is gone";
        Self { resource: None, path, found, advice: advice.to_owned() }
    }
}

impl fmt::Display for Tampered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = &self.resource {
            write!(formatter, "resource {id}: ")?;
        }
        let found: Vec<&str> = self.found.iter().map(|finding| finding.message.as_str()).collect();
        write!(formatter, "{}: {}; {}", self.path, found.join(", "), self.advice)
    }
}

impl Finding {
    pub(super) fn new(what: &str, message: String) -> Self {
        Self { what: what.to_owned(), message }
    }
}

/// A text that somebody else chose, for a message.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let short: String = text.chars().take(SHOWN_CHARACTERS).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}

const SHOWN_CHARACTERS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_planted_writes_no_line_of_its_own() {
        assert_eq!(shown(b"x\nalarm \x1b[31m\xff"), "\"x\\nalarm \\u{1b}[31m\u{fffd}\"");
        assert_eq!(shown(&[b'x'; 255]), format!("\"{}\"…", "x".repeat(60)));
    }
}
