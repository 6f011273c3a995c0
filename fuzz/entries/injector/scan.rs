//! A second, careless reader of JSON: it knows only where things begin and end, and so how deep they are
//! nested and which names stand in an object. Numbers and escapes are read by the first reader alone.

use std::collections::BTreeSet;

/// What the strict reader refuses.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The deepest nesting of arrays and objects.
    pub(super) depth: usize,
    /// Whether a name stands twice in one object.
    pub(super) repeated: bool,
    /// Whether a name is one that `serde_json` keeps for itself.
    pub(super) private: bool,
}

/// Looks through a document; `None` if it is certainly no JSON.
pub(super) fn document(data: &[u8]) -> Option<Scan> {
    let mut scan = Scan::default();
    // The names of the objects that are open; `None` for an array.
    let mut open: Vec<Option<BTreeSet<String>>> = Vec::new();
    let mut rest = data;
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'{' => open.push(Some(BTreeSet::new())),
            b'[' => open.push(None),
            b'}' | b']' => drop(open.pop()?),
            b'"' => {
                let length = string_length(after)?;
                let (text, after) = after.split_at_checked(length)?;
                rest = after.get(1..)?;
                let is_name = rest.trim_ascii_start().first() == Some(&b':');
                if let (true, Some(Some(names))) = (is_name, open.last_mut()) {
                    // As the first reader reads text; what it can't read, it refuses.
                    let name: String = serde_json::from_slice(&[b"\"", text, b"\""].concat()).ok()?;
                    scan.private |= name.starts_with("$serde_json::private::");
                    scan.repeated |= !names.insert(name);
                }
                continue;
            }
            _ => {}
        }
        scan.depth = scan.depth.max(open.len());
        rest = after;
    }
    open.is_empty().then_some(scan)
}

/// Up to the quotation mark that no backslash stands before.
fn string_length(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}
