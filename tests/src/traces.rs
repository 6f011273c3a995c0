//! Looking for secrets where none may be: each in every form in which a program may have written it
//! down. What is searched, and what a find means, is the caller's.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use data_encoding::{BASE64, BASE64URL, HEXLOWER, HEXUPPER};
use memchr::memmem::Finder;

/// The forms of a set of secrets, ready to be looked for.
pub struct Traces(Vec<(String, Finder<'static>)>);

impl Traces {
    /// The forms of these secrets.
    ///
    /// # Panics
    /// On a secret so short that its forms occur by chance.
    #[must_use]
    pub fn of<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let mut traces = Vec::new();
        for secret in secrets {
            let secret = secret.as_ref();
            assert!(secret.len() >= SHORTEST, "too short to be told from chance: {}", secret.escape_ascii());
            for (form, bytes) in forms(secret) {
                let what = format!("{} as {form}", secret.escape_ascii());
                traces.push((what, Finder::new(&bytes).into_owned()));
            }
        }
        Self(traces)
    }

    /// What of them is in these bytes, in words.
    #[must_use]
    pub fn found_in(&self, bytes: &[u8]) -> BTreeSet<&str> {
        let found = self.0.iter().filter(|(_, finder)| finder.find(bytes).is_some());
        found.map(|(what, _)| what.as_str()).collect()
    }

    /// How often any of them is in these bytes.
    #[must_use]
    pub fn count_in(&self, bytes: &[u8]) -> usize {
        self.0.iter().map(|(_, finder)| finder.find_iter(bytes).count()).sum()
    }

    /// Fails when any of them is in these bytes.
    ///
    /// # Panics
    /// Then, and says which and where.
    pub fn assert_absent(&self, place: &str, bytes: &[u8]) {
        let found = self.found_in(bytes);
        assert!(found.is_empty(), "{place} holds {found:#?}");
    }
}

/// Every form in which bytes are commonly written down, each once.
fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![
        ("it is", secret.to_vec()),
        ("hex", HEXLOWER.encode(secret).into_bytes()),
        ("upper-case hex", HEXUPPER.encode(secret).into_bytes()),
        ("%-encoded bytes", percent(secret, "0123456789ABCDEF")),
        ("lower-case %-encoded bytes", percent(secret, "0123456789abcdef")),
    ];
    for shift in 0..3 {
        forms.push(("base64", base64_core(secret, shift, &BASE64)));
        forms.push(("URL-safe base64", base64_core(secret, shift, &BASE64URL)));
    }
    if let Ok(text) = std::str::from_utf8(secret) {
        let json = serde_json::to_string(text).expect("text is JSON");
        forms.push(("JSON", json.as_bytes()[1..json.len() - 1].to_vec()));
        forms.push(("ASCII JSON", ascii_json(text).into_bytes()));
        forms.push(("Rust's debug output", text.escape_debug().to_string().into_bytes()));
        forms.push(("Rust's escapes", text.escape_default().to_string().into_bytes()));
        let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        forms.push(("HTML", html.replace('"', "&quot;").into_bytes()));
    }
    forms.push(("escaped bytes", secret.escape_ascii().to_string().into_bytes()));
    let mut seen = BTreeSet::new();
    forms.retain(|(_, bytes)| seen.insert(bytes.clone()));
    forms
}

/// The characters of a base64 text that depend on these bytes alone, when `shift` bytes of something
/// else come before them in its first group.
fn base64_core(secret: &[u8], shift: usize, alphabet: &data_encoding::Encoding) -> Vec<u8> {
    let padded: Vec<u8> = std::iter::repeat_n(0, shift).chain(secret.iter().copied()).collect();
    let text = alphabet.encode(&padded).into_bytes();
    text[(shift * 8).div_ceil(6)..padded.len() * 8 / 6].to_vec()
}

fn percent(secret: &[u8], digits: &str) -> Vec<u8> {
    let digits = digits.as_bytes();
    let mut text = Vec::new();
    for &byte in secret {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(byte);
        } else {
            text.extend([b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
    }
    text
}

/// As writers do that keep to ASCII, and keep `<`, `>` and `&` from being read as HTML.
fn ascii_json(text: &str) -> String {
    let mut escaped = String::new();
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(b'"') => escaped.push_str("\\\""),
            Ok(b'\\') => escaped.push_str("\\\\"),
            Ok(b'\n') => escaped.push_str("\\n"),
            Ok(b'\t') => escaped.push_str("\\t"),
            Ok(byte @ b' '..=b'~') if !b"<>&".contains(&byte) => escaped.push(byte.into()),
            _ => write!(escaped, "\\u{unit:04x}").expect("a string takes everything"),
        }
    }
    escaped
}

/// Shorter ones would be found by chance.
const SHORTEST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_each_form() {
        let secret = "pa\"ss\n<w&rd>%ä√";
        let traces = Traces::of([secret]);
        let json = serde_json::json!({"x": secret}).to_string();
        let mut written = vec![
            secret.to_owned(),
            json,
            format!("{secret:?}"),
            "pa%22ss%0A%3Cw%26rd%3E%25%C3%A4%E2%88%9A".to_owned(),
            "pa%22ss%0a%3cw%26rd%3e%25%c3%a4%e2%88%9a".to_owned(),
            "pa\\\"ss\\n\\u003cw\\u0026rd\\u003e%\\u00e4\\u221a".to_owned(),
            "pa&quot;ss\n&lt;w&amp;rd&gt;%ä√".to_owned(),
            HEXLOWER.encode(secret.as_bytes()),
            HEXUPPER.encode(secret.as_bytes()),
        ];
        for before in ["", "b", "be", "bef"] {
            for after in ["", "a", "af"] {
                written.push(BASE64.encode(format!("{before}{secret}{after}").as_bytes()));
                written.push(BASE64URL.encode(format!("{before}{secret}{after}").as_bytes()));
            }
        }
        for text in written {
            assert!(!traces.found_in(format!("x{text}x").as_bytes()).is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_is_not_found() {
        let traces = Traces::of(["kanarienvogel", "\u{0}\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}"]);
        traces.assert_absent("an innocent text", b"kanarienvoge1 a2FuYXJpZW52b2dl MDEyMw== 01020304");
    }
}
