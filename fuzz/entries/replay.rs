//! The inputs that are kept, run once more on an ordinary toolchain: what was found once stays found.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::path::Path;

/// Runs an entry on every seed of its target and on everything that it ever failed on.
pub(crate) fn kept_inputs(target: &str, run: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let mut count = 0_usize;
    for folder in ["seeds", "regressions"] {
        // A target that never failed has no regressions.
        let Ok(entries) = fuzz.join(folder).join(target).read_dir() else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let mut bytes = Vec::new();
            OpenOptions::new().read(true).open(&path).unwrap().read_to_end(&mut bytes).unwrap();
            let named = Named(&path);
            run(&bytes);
            drop(named);
            count = count.saturating_add(1);
        }
    }
    assert!(count > 0, "there are no seeds of {target}");
}

/// Says which input it was, if it was the last one.
struct Named<'a>(&'a Path);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input is {}", self.0.display());
        }
    }
}
