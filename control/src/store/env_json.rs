//! Records that hold an env, as the plaintext that is sealed: JSON whose buffers are wiped.

use std::io;

use miosa_injector::model::EnvMap;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

/// Writes JSON without leaving copies behind: a first pass counts, so that the buffer never moves
/// while it is filled.
pub(super) fn to_bytes(value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let mut size = Counter(0);
    serde_json::to_writer(&mut size, value)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.0));
    serde_json::to_writer(&mut *bytes, value)?;
    Ok(bytes)
}

/// Writes an env with its values, for `#[serde(serialize_with)]`.
pub(super) fn exposed<S: Serializer>(env: &EnvMap, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(env.len()))?;
    for (name, value) in env {
        map.serialize_entry(name.as_str(), value.expose())?;
    }
    map.end()
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
