//! A batch that is killed in the middle and goes on, against a server that fails.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, process, thread};

use steadfast_tests::faulty_server::{Faults, FaultyServer, Settings};

use crate::delivery::{Delivery, Fate};

const LINES: u64 = 300;

/// When the first run is killed: in the middle, more or less.
const KILLED_AFTER: Duration = Duration::from_millis(900);

/// Whether it went well.
pub(crate) fn show() -> Result<bool, Box<dyn Error>> {
    // It never leaves a request without an answer: whoever waits for a timeout is shown nothing.
    let faults = Faults { stall: 0, ..Faults::default() };
    let server = FaultyServer::start(Settings { faults, requests_per_second: 200, ..Settings::default() })?;
    let folder = env::temp_dir().join(format!("steadfast-batch-{}", process::id()));
    fs::create_dir_all(&folder)?;
    let (input, output) = (folder.join("requests.jsonl"), folder.join("results.jsonl"));
    fs::write(&input, requests())?;

    let run = || {
        let mut command = Command::new(env::current_exe()?);
        command.args(["--resume", "--rate", "180", "--url", &server.url()]);
        command.arg("--input").arg(&input).arg("--output").arg(&output);
        Ok::<_, io::Error>(command)
    };
    let mut out = io::stdout();
    writeln!(out, "{LINES} requests, every fourth a POST, to a server that fails")?;
    let mut first = run()?.stdout(Stdio::null()).spawn()?;
    thread::sleep(KILLED_AFTER);
    first.kill()?;
    first.wait()?;
    let written = fs::read_to_string(&output)?.lines().count();
    writeln!(out, "killed when {written} results were written; resumed:")?;
    run()?.status()?;

    let results = fs::read_to_string(&output)?;
    let results = results.lines().map(serde_json::from_str).collect::<Result<Vec<Delivery>, _>>()?;
    let in_order = results.iter().map(|result| result.line).eq(1..=LINES);
    let unknown: Vec<_> =
        results.iter().filter(|result| result.fate == Fate::Unknown).map(|result| result.line).collect();
    let each = if in_order { "each line once, in order" } else { "NOT each line once, in order" };
    writeln!(out, "{} results, {each}", results.len())?;
    writeln!(out, "POSTs that broke off, so that their fate is unknown, and that were not sent twice: {unknown:?}")?;
    fs::remove_dir_all(&folder)?;
    Ok(in_order)
}

fn requests() -> String {
    (1..=LINES).fold(String::new(), |mut lines, line| {
        let written = match line % 4 {
            0 => writeln!(lines, r#"{{"method": "POST", "path": "items", "body": {{"order": {line}}}, "id": {line}}}"#),
            _ => writeln!(lines, r#"{{"method": "GET", "path": "items/{line}", "id": {line}}}"#),
        };
        written.expect("a string takes all");
        lines
    })
}
