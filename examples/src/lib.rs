//! Examples of steadfast: each file or folder beside this package's manifest answers one question.
//!
//! | Question | Answer |
//! | --- | --- |
//! | What does it do for me? | `cargo run --release -p steadfast-examples --example quickstart` |
