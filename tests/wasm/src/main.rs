//! The same decisions on WebAssembly. On the host this prints what is decided; compiled for `wasm32-unknown-unknown`, it
//! decides anew, and its exit code says whether that is what the host decided, byte for byte. [`run`](../run) does both.

mod script;

const SEEDS: std::ops::Range<u64> = 0..8;

/// What was decided, a line for each decision.
fn decisions() -> String {
    SEEDS.map(script::played).collect()
}

#[cfg(not(target_family = "wasm"))]
fn main() {
    print!("{}", decisions());
}

/// What the host said is a part of the program, since nothing can be read from here.
#[cfg(target_family = "wasm")]
fn main() -> std::process::ExitCode {
    let same = decisions() == include_str!(env!("STEADFAST_SAID_BY_THE_HOST"));
    if same { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
