//! A command that comes out of the environment, split into words.

use crate::command::{SplitError, split};

/// What is split can be started, and is split the same after it was quoted again.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let words = match split(text) {
        Ok(words) => words,
        Err(error) => return check_refusal(text, error),
    };
    assert!(words.first().is_some_and(|program| !program.is_empty()));
    assert!(words.iter().all(|word| !word.contains('\0')));
    let array = serde_json::to_string(&words).expect("JSON");
    assert_eq!(split(&array).expect("an array of words"), words);
    let quoted = shlex::try_join(words.iter().map(String::as_str)).expect("no word has a NUL");
    // A first word that begins with [ would be taken for an array; quoted, it never does.
    assert_eq!(split(&quoted).expect("quoted words"), words, "{quoted}");
}

fn check_refusal(text: &str, error: SplitError) {
    let is_array = text.trim_start().starts_with('[');
    match error {
        SplitError::Array => assert!(is_array),
        SplitError::Quote => assert!(!is_array && text.contains(['\'', '"', '\\'])),
        SplitError::Empty => {}
        SplitError::Nul => assert!(text.contains('\0') || (is_array && text.contains("\\u0000"))),
    }
}
