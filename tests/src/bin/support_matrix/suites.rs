//! The suites of the ports, as `cargo test` runs them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The modules of tests that are a transport on a runtime. What follows each other and comes to the same shares a row.
const STACKS: [(&str, &str, &str); 7] = [
    ("transports::ac_07_reqwest", "tokio", "`reqwest`"),
    ("transports::ac_07_hyper_tokio", "tokio", "`hyper`"),
    ("transports::ac_07_hyper_smol", "smol", "`hyper`"),
    ("tokio_h1", "tokio", "`surf`, on `h1`"),
    ("smol_h1", "smol", "`surf`, on `h1`"),
    ("tokio_curl", "tokio", "`surf`, on `curl`"),
    ("smol_curl", "smol", "`surf`, on `curl`"),
];

/// The tests of timers, by how their names begin.
const TIMERS: [(&str, &str); 5] = [
    ("tokio", "tokio"),
    ("smol", "smol, and any executor without a timer"),
    ("embassy", "embassy"),
    ("thread", "a thread that blocks"),
    ("manual", "a clock that is moved by hand"),
];

/// The tests that compare what all of them decide.
const DECISIONS: &str = "world::runtimes::";

/// How many ways of running a timer pass, and whether all runtimes decide alike.
pub(crate) fn timers(root: &Path) -> Result<String, String> {
    let ran = Ran::here(root, &["timers::", DECISIONS])?;
    let alike = ran.tests.iter().filter(|test| test.starts_with(DECISIONS)).count();
    if alike == 0 {
        return Err("no test compares what the runtimes decide".to_owned());
    }
    let mut table = "| Time from | Timer suite | Decides as the simulator |\n| --- | --- | --- |\n".to_owned();
    for (prefix, runtime) in TIMERS {
        let count = ran
            .tests
            .iter()
            .filter_map(|test| test.strip_prefix("timers::"))
            .filter(|it| it.starts_with(prefix))
            .count();
        if count == 0 {
            return Err(format!("no timer of {runtime} was tested"));
        }
        let ways = if count == 1 { "passed".to_owned() } else { format!("passed, run in {count} ways") };
        table += &format!("| {runtime} | {ways} | yes |\n");
    }
    Ok(table)
}

/// How many cases each transport passes, and what it cannot do.
pub(crate) fn transports(root: &Path) -> Result<String, String> {
    let here = Ran::here(root, &["transports::"])?;
    let surf = Ran::of(
        Command::new("cargo")
            .args(["test", "--locked", "--manifest-path", "adapters/surf/Cargo.toml", "--all-features"])
            .args(["--target-dir".as_ref(), target(root).join("surf").as_os_str()])
            .args(["--test", "conformance", "--", "--show-output"])
            .current_dir(root),
    )?;
    let mut cases: Option<BTreeSet<&str>> = None;
    let mut rows: Vec<(String, String)> = Vec::new();
    for (module, runtime, transport) in STACKS {
        let of = |test: &str| test.strip_prefix(module).is_some_and(|rest| rest.starts_with("::"));
        let tests = here.tests.iter().chain(&surf.tests).filter(|test| of(test));
        let ran: BTreeSet<_> = tests.filter_map(|test| test.get(module.len()..)).collect();
        let all = cases.get_or_insert_with(|| ran.clone());
        if ran.is_empty() || ran != *all {
            return Err(format!("{transport} on {runtime} runs {} cases, and others run {}", ran.len(), all.len()));
        }
        let said = here.limitations.iter().chain(&surf.limitations).filter(|(test, _)| of(test));
        let limitations: BTreeSet<_> = said.flat_map(|(_, limitations)| limitations).map(String::as_str).collect();
        let limitations = limitations.into_iter().collect::<Vec<_>>().join("; ");
        let rest = format!("{transport} | {0} of {0} | {limitations}", ran.len());
        match rows.last_mut().filter(|(_, of_last)| *of_last == rest) {
            Some((runtimes, _)) => *runtimes += &format!(", {runtime}"),
            None => rows.push((runtime.to_owned(), rest)),
        }
    }
    let head = "| Runtime | Transport | Conformance | What it cannot do |\n| --- | --- | --- | --- |\n";
    Ok(rows.iter().fold(head.to_owned(), |table, (runtimes, rest)| format!("{table}| {runtimes} | {rest} |\n")))
}

/// Where cargo builds.
pub(crate) fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into)
}

/// What a run of tests said. All of them have passed.
struct Ran {
    tests: Vec<String>,
    /// What each of them said that a transport cannot do.
    limitations: BTreeMap<String, Vec<String>>,
}

impl Ran {
    fn here(root: &Path, filters: &[&str]) -> Result<Self, String> {
        let mut cargo = Command::new("cargo");
        cargo.args(["test", "--locked", "-p", "steadfast-tests", "--test", "all", "--", "--show-output"]);
        Self::of(cargo.args(filters).current_dir(root))
    }

    fn of(cargo: &mut Command) -> Result<Self, String> {
        let output = cargo.stderr(Stdio::inherit()).output().map_err(|error| format!("cargo: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() { Ok(Self::read(&said)) } else { Err(format!("not all tests pass:\n{said}")) }
    }

    /// What libtest prints: `test NAME ... ok`, and with `--show-output` what each said below `---- NAME stdout ----`.
    fn read(said: &str) -> Self {
        let mut ran = Self { tests: Vec::new(), limitations: BTreeMap::new() };
        let mut speaks = "";
        for line in said.lines() {
            if let Some(test) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... ok")) {
                ran.tests.push(test.to_owned());
            } else if let Some(test) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
                speaks = test;
            } else if let Some(limitation) = line.strip_prefix("limitation: ") {
                ran.limitations.entry(speaks.to_owned()).or_default().push(limitation.to_owned());
            }
        }
        ran
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_harness_prints_is_read() {
        let said = "\nrunning 2 tests\ntest a::one ... ok\ntest a::two ... ok\n\nsuccesses:\n\n---- a::two stdout ----\n\
                    limitation: no keep-alive\n\nsuccesses:\n    a::one\n    a::two\n\ntest result: ok. 2 passed; 0 failed\n";
        let ran = Ran::read(said);
        assert_eq!(ran.tests, ["a::one", "a::two"]);
        assert_eq!(ran.limitations, BTreeMap::from([("a::two".to_owned(), vec!["no keep-alive".to_owned()])]));
    }
}
