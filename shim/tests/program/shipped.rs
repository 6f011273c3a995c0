//! The very file that is put into images.

use crate::shim::{shipped, skipped};

#[test]
fn it_needs_no_loader_and_no_library() {
    let Some(path) = shipped() else {
        skipped("MIOSA_BIN_DIR names no built program; `make test` sets it");
        return;
    };
    let file = std::fs::read(path).expect("read the program");
    let kinds = program_headers(&file).expect("an ELF file of 64 bits");
    assert!(kinds.contains(&PT_LOAD), "no program headers were read");
    assert!(!kinds.contains(&PT_INTERP), "it asks for a loader (PT_INTERP)");
    assert!(!kinds.contains(&PT_DYNAMIC), "it is linked dynamically (PT_DYNAMIC)");
}

/// The type of each program header (elf(5): `e_phoff`, `e_phentsize`, `e_phnum`, `p_type`).
fn program_headers(file: &[u8]) -> Option<Vec<u32>> {
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let offset = usize::try_from(u64::from_le_bytes(file.get(32..40)?.try_into().ok()?)).ok()?;
    let size = usize::from(u16::from_le_bytes(file.get(54..56)?.try_into().ok()?));
    let count = usize::from(u16::from_le_bytes(file.get(56..58)?.try_into().ok()?));
    let headers = file.get(offset..)?.chunks_exact(size).take(count);
    headers.map(|header| Some(u32::from_le_bytes(header.get(..4)?.try_into().ok()?))).collect()
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
