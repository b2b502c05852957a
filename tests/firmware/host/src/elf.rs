//! What a linked firmware takes of flash and RAM, and what must not be in it.

use std::fs;

use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, elf};

/// What a linked firmware takes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Code, constants, and the first values of statics.
    pub flash: u64,
    /// Statics. The stack comes on top.
    pub statics: u64,
}

/// Floating point, which a processor without it does in software. (That nothing allocates, the linker has seen to.)
const FLOATS: [&str; 8] =
    ["addsf3", "adddf3", "mulsf3", "muldf3", "aeabi_fadd", "aeabi_dadd", "aeabi_fmul", "aeabi_dmul"];

/// Reads the sizes of the firmware at `path`.
///
/// # Errors
/// If it cannot be read, or has something in it that must not be there.
pub fn read(path: &str) -> Result<Sizes, String> {
    let data = fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let file = object::File::parse(&*data).map_err(|error| format!("{path}: {error}"))?;
    let names: Vec<&str> = file.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    if !names.contains(&"main") {
        return Err(format!("{path}: its symbols are stripped, so nobody can tell what is in it"));
    }
    if let Some(name) = names.iter().find(|name| FLOATS.iter().any(|part| name.contains(part))) {
        return Err(format!("{path}: it has floating point in it: {name}"));
    }
    let mut sizes = Sizes { flash: 0, statics: 0 };
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        let has = |flag: u32| sh_flags & u64::from(flag) != 0;
        let is_kept = section.file_range().is_some();
        // Where the linker script gives the rest of RAM a name.
        let is_rest = matches!(section.name(), Ok(".stack" | ".heap"));
        if has(elf::SHF_ALLOC) && is_kept {
            sizes.flash += section.size();
        }
        if has(elf::SHF_ALLOC) && has(elf::SHF_WRITE) && !is_rest {
            sizes.statics += section.size();
        }
    }
    Ok(sizes)
}
