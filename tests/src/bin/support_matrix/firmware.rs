//! The firmware, as `tests/firmware/run` runs and measures it.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::suites::target;

/// How its table begins.
pub(crate) const HEAD: &str = "| Target | Policies, flash |";

/// What the firmware takes on each target, and whether it decides there as it does here. `None` without QEMU.
pub(crate) fn table(root: &Path) -> Result<Option<String>, String> {
    if !["qemu-system-arm", "qemu-system-riscv32"].into_iter().all(is_there) {
        return Ok(None);
    }
    let run = Command::new(root.join("tests/firmware/run")).status().map_err(|error| error.to_string())?;
    if !run.success() {
        return Err("the firmware fails".to_owned());
    }
    let path = target(root).join("firmware.jsonl");
    let report = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut table =
        format!("{HEAD} Pipeline and a call, state | Whole firmware, flash | Its RAM | Decisions in QEMU |\n");
    table += "| --- | --- | --- | --- | --- | --- |\n";
    for line in report.lines() {
        table += &row(line).ok_or_else(|| format!("not what was expected: {line}"))?;
    }
    Ok(Some(table))
}

fn row(line: &str) -> Option<String> {
    let found: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| found.get(name)?.as_str();
    let bytes = |of: &str, name: &str| found.get(of)?.get(name)?.as_u64();
    let (target, machine, verdict) = (text("target")?, text("machine")?, text("verdict")?);
    let [policies, station] = [bytes("flash", "policies")?, bytes("flash", "station")?].map(grouped);
    let [pipeline, call] = [bytes("size_of", "Pipeline")?, bytes("size_of", "Call")?].map(grouped);
    let ram = grouped(bytes("ram", "statics")? + bytes("ram", "stack")?);
    let decisions = grouped(found.get("decisions")?.as_u64()?);
    let verdict = if verdict == "pass" { format!("{decisions} as on the host") } else { verdict.to_owned() };
    Some(format!(
        "| `{target}`, {machine} | {policies} B | {pipeline} + {call} B | {station} B | {ram} B | {verdict} |\n"
    ))
}

/// 12345 as 12,345.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_report_is_a_row() {
        let line = r#"{"target":"a-b-c","machine":"m","verdict":"pass","decisions":1573,"flash":{"empty":1164,
            "policies":33976,"station":59132},"ram":{"statics":1056,"stack":8248},"size_of":{"Pipeline":1920,"Call":408}}"#;
        let want = "| `a-b-c`, m | 33,976 B | 1,920 + 408 B | 59,132 B | 9,304 B | 1,573 as on the host |\n";
        assert_eq!(row(line).as_deref(), Some(want));
        assert_eq!(row(&line.replace("stack", "heap")), None);
    }
}
