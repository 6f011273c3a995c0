//! Makes `tests/vectors` anew: `make vectors`. What is no longer made is removed; the README stays.

use std::fs;
use std::io;

use miosa_tests::vectors;
use miosa_tests::world::files_below;

fn main() -> io::Result<()> {
    let (folder, made) = (vectors::folder(), vectors::make());
    for path in files_below(&folder) {
        let name = path.strip_prefix(&folder).expect("below the folder");
        if !made.contains_key(name) && !name.ends_with("README.md") {
            fs::remove_file(path)?;
        }
    }
    for (name, bytes) in &made {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder"))?;
        fs::write(path, bytes)?;
    }
    let cases = made.keys().filter(|path| path.ends_with("case.json")).count();
    let bytes: usize = made.values().map(Vec::len).sum();
    println!("{cases} cases, {} files, {bytes} bytes in {}", made.len(), folder.display());
    Ok(())
}
