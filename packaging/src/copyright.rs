//! The copyright file of each package, in Debian's machine-readable form: ours, and that of everything
//! that is linked into the program. Where a crate offers a choice of licences, it says which one is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A program, and what is linked into it beside crates.
pub(crate) struct Program {
    /// The crate, the program and the package: one name.
    pub(crate) name: &'static str,
    /// What it is built for.
    libc: Libc,
    /// C code that a crate brings along, under another licence than the crate's.
    bundled: &'static [Part],
}

/// Which C library a program uses.
enum Libc {
    /// The system's, which is not part of the package.
    Gnu,
    /// Linked into the program.
    Musl,
}

/// Something under one licence.
struct Part {
    name: &'static str,
    copyright: &'static str,
    license: &'static str,
}

/// Every program there is.
pub(crate) const PROGRAMS: [Program; 3] = [
    Program { name: "miosad", libc: Libc::Gnu, bundled: &[RUST] },
    Program { name: "miosa-control", libc: Libc::Gnu, bundled: &[RUST, SQLITE] },
    Program { name: "miosa-exec", libc: Libc::Musl, bundled: &[RUST, MUSL] },
];

impl Program {
    /// The file's text.
    ///
    /// # Errors
    /// When cargo does not know what is linked, or a licence has no text in `licenses/`.
    pub(crate) fn copyright(&self) -> Result<String, Box<dyn Error>> {
        let target = self.target();
        let linked = self.linked(&target)?;
        let mut text = String::from(HEAD);
        let mut licenses = BTreeSet::from([OUR_LICENSE.to_owned()]);
        for package in packages(&target)? {
            let (name, version) = (field(&package, "name"), field(&package, "version"));
            // Ours have no source: they are not from a registry.
            if package.get("source").is_none_or(Value::is_null)
                || !linked.contains(&format!("{name} v{version}"))
            {
                continue;
            }
            let taken = chosen(field(&package, "license"));
            let folder =
                Path::new(field(&package, "manifest_path")).parent().ok_or("a crate has a folder")?;
            let copyright = holders(folder, &package)?;
            stanza(&mut text, &format!("{name}-{version}/*"), &copyright, &taken.join(" and "));
            licenses.extend(taken);
        }
        for part in self.bundled {
            stanza(&mut text, part.name, &[part.copyright.to_owned()], part.license);
            licenses.insert(part.license.to_owned());
        }
        for license in licenses {
            write!(text, "\nLicense: {license}\n{}", indented(license_text(&license)?))?;
        }
        Ok(text)
    }

    fn target(&self) -> String {
        let libc = match self.libc {
            Libc::Gnu => "gnu",
            Libc::Musl => "musl",
        };
        format!("{}-unknown-linux-{libc}", std::env::consts::ARCH)
    }

    /// `NAME vVERSION` of what ends up in the program; what runs only while it is built does not.
    fn linked(&self, target: &str) -> Result<BTreeSet<String>, Box<dyn Error>> {
        let form = ["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"];
        let of = ["tree", "--locked", "--package", self.name, "--target", target];
        let tree = cargo(&[&of[..], &form].concat())?;
        let crates = tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
        Ok(crates.filter(|name| !name.is_empty()).collect())
    }
}

fn packages(target: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let output = cargo(&["metadata", "--locked", "--format-version", "1", "--filter-platform", target])?;
    let metadata: Value = serde_json::from_str(&output)?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    packages.cloned().ok_or_else(|| "cargo metadata names no packages".into())
}

fn cargo(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    if !output.status.success() {
        return Err(format!("cargo: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The licences that are taken of an SPDX expression: of each choice the one that we prefer, of what
/// holds together all.
fn chosen(expression: &str) -> Vec<String> {
    let expression = expression.replace('/', " OR ");
    let choice = |part: &str| {
        let part = part.replace(['(', ')'], "");
        let offered: Vec<&str> = part.split(" OR ").map(str::trim).collect();
        let preferred = PREFERRED.iter().find(|license| offered.contains(license));
        preferred.or(offered.first()).copied().unwrap_or_default().to_owned()
    };
    expression.split(" AND ").map(choice).collect()
}

/// Who holds the copyright, as the crate's own files say it.
fn holders(folder: &Path, package: &Value) -> Result<Vec<String>, Box<dyn Error>> {
    let mut holders = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if !["LICEN", "COPYRIGHT", "COPYING", "NOTICE"].iter().any(|start| name.starts_with(start))
            || !entry.file_type()?.is_file()
        {
            continue;
        }
        let text = fs::read(entry.path())?;
        holders.extend(String::from_utf8_lossy(&text).lines().filter_map(holder));
    }
    if holders.is_empty() {
        let authors = package.get("authors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        holders.extend(authors.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    if holders.is_empty() {
        holders.insert(format!("the authors of {}", field(package, "name")));
    }
    Ok(holders.into_iter().collect())
}

/// What stands behind the word on a line that claims copyright; a form to be filled in claims none.
fn holder(line: &str) -> Option<String> {
    let line = line.trim().trim_start_matches(['/', '*', '#']).trim_start();
    let claim = line.strip_prefix("Copyright")?.trim_start();
    let claim =
        ["(c)", "(C)", "©", ":"].iter().find_map(|sign| claim.strip_prefix(sign)).unwrap_or(claim).trim();
    let opens_with_a_name = claim.starts_with(|c: char| c.is_ascii_digit() || c.is_uppercase());
    (opens_with_a_name && !claim.contains("yyyy"))
        .then(|| claim.trim_end_matches(". All rights reserved.").to_owned())
}

fn stanza(text: &mut String, files: &str, copyright: &[String], license: &str) {
    let holders = copyright.join("\n           ");
    // Writing to a string can't fail.
    let _infallible = write!(text, "\nFiles: {files}\nCopyright: {holders}\nLicense: {license}\n");
}

fn license_text(license: &str) -> Result<&'static str, String> {
    let known = BTreeMap::from(LICENSES);
    known.get(license).copied().ok_or_else(|| {
        format!("packaging/licenses has no text of the licence {license}, which something linked is under")
    })
}

/// As the lines of a field: a space before each, a dot where there is nothing.
fn indented(text: &str) -> String {
    text.lines().map(|line| format!(" {}\n", if line.trim().is_empty() { "." } else { line })).collect()
}

fn field<'a>(package: &'a Value, name: &str) -> &'a str {
    package.get(name).and_then(Value::as_str).unwrap_or_default()
}

const HEAD: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: MIOSA host runtime
Comment: The program is linked from the crates that are listed after it, at the
 versions in Cargo.lock. A crate's paragraph is named as the crate is in its
 registry. Where it offers several licences, the one taken is named.

Files: *
Copyright: 2026 MIOSA maintainers
License: Apache-2.0
";

const OUR_LICENSE: &str = "Apache-2.0";

const PREFERRED: [&str; 4] = ["Apache-2.0", "MIT", "BSD-3-Clause", "Apache-2.0 WITH LLVM-exception"];

const RUST: Part = Part {
    name: "rust-standard-library/*",
    copyright: "The Rust Project contributors",
    license: "Apache-2.0",
};

const MUSL: Part = Part { name: "musl/*", copyright: "2005-2020 Rich Felker, et al.", license: "MIT" };

const SQLITE: Part = Part {
    name: "sqlite/*",
    copyright: "none: its authors have dedicated it to the public domain",
    license: "public-domain",
};

const LICENSES: [(&str, &str); 9] = [
    ("Apache-2.0", include_str!("../licenses/Apache-2.0")),
    ("BSD-3-Clause", include_str!("../licenses/BSD-3-Clause")),
    ("CDLA-Permissive-2.0", include_str!("../licenses/CDLA-Permissive-2.0")),
    ("CC0-1.0", include_str!("../licenses/CC0-1.0")),
    ("ISC", include_str!("../licenses/ISC")),
    ("MIT", include_str!("../licenses/MIT")),
    ("Unicode-3.0", include_str!("../licenses/Unicode-3.0")),
    ("Zlib", include_str!("../licenses/Zlib")),
    ("public-domain", include_str!("../licenses/public-domain")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_choice_one_licence_is_taken_and_of_what_holds_together_all() {
        for (expression, expected) in [
            ("MIT", &["MIT"][..]),
            ("MIT OR Apache-2.0", &["Apache-2.0"]),
            ("MIT/Apache-2.0", &["Apache-2.0"]),
            ("Unlicense OR MIT", &["MIT"]),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", &["Apache-2.0", "Unicode-3.0"]),
            ("Apache-2.0 AND ISC", &["Apache-2.0", "ISC"]),
            ("Zlib", &["Zlib"]),
        ] {
            assert_eq!(chosen(expression), expected, "{expression}");
        }
    }

    #[test]
    fn a_licence_without_a_text_is_named() {
        assert!(license_text("Beerware").unwrap_err().contains("Beerware"));
    }

    #[test]
    fn holders_are_read_from_claims_and_not_from_forms() {
        for (line, expected) in [
            ("Copyright (c) 2014 The Rust Project Developers", Some("2014 The Rust Project Developers")),
            ("   Copyright 2015-2025 Brian Smith.", Some("2015-2025 Brian Smith.")),
            ("// Copyright © 2019 A B", Some("2019 A B")),
            ("Copyright [yyyy] [name of copyright owner]", None),
            ("copyright notice and this permission notice", None),
            ("\"Copyright\" means", None),
        ] {
            assert_eq!(holder(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn every_crate_that_is_linked_has_a_paragraph_and_every_licence_its_text() {
        for program in PROGRAMS {
            let text = program.copyright().unwrap();
            let linked = program.linked(&program.target()).unwrap();
            for name in linked.iter().filter(|name| !name.starts_with("miosa")) {
                let files = format!("\nFiles: {}/*\n", name.replace(" v", "-"));
                assert!(text.contains(&files), "{}: {files}", program.name);
            }
            assert!(text.contains("\nLicense: Apache-2.0\n On Debian"), "{}", program.name);
        }
    }
}
