//! The batch, killed and interrupted, against a server that counts.
//!
//! Each run that is killed is a process of its own: this program, which is told by its environment to be the batch.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, process, thread};

use clap::Parser;
use serde_json::json;

use crate::delivery::{Delivery, Fate};
use crate::journal::Journal;
use crate::run::run;
use crate::settings::Settings;

mod server;

use server::Server;

/// Has the arguments, one a line, in a process that is to be the batch.
const ARGS: &str = "STEADFAST_BATCH_ARGS";

/// A server, a file of requests for it, and where the results go.
struct Scene {
    test: &'static str,
    server: Server,
    folder: PathBuf,
    options: &'static [&'static str],
}

/// The scene of the named test; `None` in a process that was the batch.
fn scene(test: &'static str, options: &'static [&'static str], requests: &str) -> Option<Scene> {
    if let Ok(args) = env::var(ARGS) {
        let settings = Settings::try_parse_from(args.lines()).expect("what a test says");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        assert!(runtime.block_on(run(&settings)).expect("it runs"), "a line has no result");
        return None;
    }
    let folder = env::temp_dir().join(format!("steadfast-{test}-{}", process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("in"), requests).expect("a file");
    Some(Scene { test, server: Server::start(), folder, options })
}

impl Scene {
    fn args(&self, more: &[&str]) -> Vec<String> {
        let path = |name| self.folder.join(name).display().to_string();
        let (url, input, output) = (self.server.url(), path("in"), path("out"));
        let args = ["batch", "--url", &url, "--input", &input, "--output", &output, "--rate", "10000"];
        args.iter().chain(self.options).chain(more).map(|&arg| arg.to_owned()).collect()
    }

    /// Begins a run in a process of its own.
    fn spawn(&self) -> Child {
        let mut command = Command::new(env::current_exe().expect("a test is a program"));
        command.args(["--exact", &format!("tests::{}", self.test), "--nocapture"]);
        command.env(ARGS, self.args(&["--resume"]).join("\n"));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it can be run")
    }

    /// Makes a run in this process.
    fn run(&self, more: &[&str]) -> Result<bool, String> {
        let settings = Settings::try_parse_from(self.args(more)).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(run(&settings)).map_err(|error| error.to_string())
    }

    /// Lets the server answer everything, resumes until all is done, and returns the results, which have to be in order.
    fn finish(&self) -> Vec<Delivery> {
        self.server.begin_anew();
        self.server.answer(100_000);
        assert_eq!(self.run(&["--resume"]), Ok(true));
        let text = fs::read_to_string(self.folder.join("out")).expect("it was written");
        let results: Vec<Delivery> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let lines = fs::read_to_string(self.folder.join("in")).expect("it was written").lines().count() as u64;
        assert!(results.iter().map(|result| result.line).eq(1..=lines), "each line once, in order");
        results
    }

    /// How often each line came, of those with this method.
    fn received(&self, method: &str) -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        for request in self.server.received().into_iter().filter(|request| request.method == method) {
            *counts.entry(request.line).or_default() += 1;
        }
        counts
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // The system does so as well, some time.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Lines of requests with these methods, again and again.
fn requests(methods: &[&str], count: usize) -> String {
    let lines = methods.iter().cycle().take(count).zip(1..);
    lines.map(|(method, line)| json!({"method": method, "path": format!("orders/{line}")}).to_string() + "\n").collect()
}

/// Kills twenty runs, at moments from a seed, and finishes.
fn killed_twenty_times(scene: &Scene, seed: u64) -> Vec<Delivery> {
    let mut draws = seed;
    let mut draw = |below: u64| {
        draws = draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (draws >> 33) % below
    };
    for kill in 0..20 {
        let before = scene.server.received().len();
        let answers = usize::try_from(draw(18)).expect("a small number");
        // Beyond these it is silent: a run that is not killed in time does not come to its end either.
        scene.server.begin_anew();
        scene.server.answer(answers);
        let mut batch = scene.spawn();
        // Every fourth is killed when it has hardly begun, wherever it is then.
        if kill % 4 != 0 {
            scene.server.wait_for(before + answers + 1);
        }
        // Not to wait for anything: the kill has to meet it anywhere.
        thread::sleep(Duration::from_micros(draw(if kill % 4 == 0 { 60_000 } else { 6_000 })));
        assert!(batch.try_wait().expect("it can be asked").is_none(), "it has ended by itself");
        batch.kill().expect("it can be killed");
        batch.wait().expect("it was killed");
    }
    scene.finish()
}

#[test]
fn killed_twenty_times_with_keys_each_line_is_delivered_under_one_key() {
    let name = "killed_twenty_times_with_keys_each_line_is_delivered_under_one_key";
    let options = &["--idempotency-keys", "--concurrency", "8"];
    let Some(scene) = scene(name, options, &requests(&["POST", "GET", "PUT"], 800)) else { return };
    let results = killed_twenty_times(&scene, 1);
    for result in &results {
        assert_eq!((result.fate, &result.body), (Fate::Answered, &Some(json!({"line": result.line}))));
    }
    let keys: BTreeSet<_> = scene.server.received().into_iter().map(|request| (request.line, request.key)).collect();
    assert_eq!(keys.len(), 800, "a line has two keys");
    let different: BTreeSet<_> = keys.into_iter().map(|(_, key)| key.expect("each has one")).collect();
    assert_eq!(different.len(), 800, "two lines have one key");
}

#[test]
fn killed_twenty_times_without_keys_no_post_comes_twice_and_none_is_lost_in_silence() {
    let name = "killed_twenty_times_without_keys_no_post_comes_twice_and_none_is_lost_in_silence";
    let options = &["--concurrency", "8"];
    let Some(scene) = scene(name, options, &requests(&["POST", "GET", "POST", "PUT"], 800)) else { return };
    let results = killed_twenty_times(&scene, 2);
    let posts = scene.received("POST");
    assert_eq!(posts.values().max(), Some(&1), "a POST came twice");
    for result in &results {
        match result.fate {
            Fate::Answered => assert_eq!(result.body, Some(json!({"line": result.line}))),
            Fate::Unknown => assert!(result.line % 2 == 1, "only of a POST the fate can be unknown: {result:?}"),
            Fate::Failed | Fate::Refused => panic!("{result:?}"),
        }
        let came = posts.contains_key(&result.line);
        assert!(came || result.line % 2 == 0 || result.fate == Fate::Unknown, "it never came: {result:?}");
    }
    let unknown = results.iter().filter(|result| result.fate == Fate::Unknown).count();
    assert!(unknown <= 20 * 8, "no more than were under way: {unknown}");
}

#[test]
fn a_post_that_a_kill_met_on_the_wire_is_unknown_and_not_sent_again() {
    let name = "a_post_that_a_kill_met_on_the_wire_is_unknown_and_not_sent_again";
    let Some(scene) = scene(name, &["--concurrency", "1"], &requests(&["POST"], 4)) else { return };
    scene.server.answer(1);
    let mut batch = scene.spawn();
    scene.server.wait_for(2);
    batch.kill().expect("it can be killed");
    batch.wait().expect("it was killed");
    let fates: Vec<_> = scene.finish().into_iter().map(|result| result.fate).collect();
    assert_eq!(fates, [Fate::Answered, Fate::Unknown, Fate::Answered, Fate::Answered]);
    assert_eq!(scene.received("POST"), BTreeMap::from([(1, 1), (2, 1), (3, 1), (4, 1)]));
}

/// Presses Ctrl-C, as far as a process can tell.
#[cfg(unix)]
fn interrupt(batch: &Child) {
    let interrupted = Command::new("kill").args(["-INT", &batch.id().to_string()]).status();
    assert!(interrupted.expect("there is a kill").success());
}

/// Interrupts a run when three lines are under way, and waits until it has heard.
#[cfg(unix)]
fn interrupted(scene: &Scene) -> Child {
    let mut batch = scene.spawn();
    scene.server.wait_for(3);
    interrupt(&batch);
    let said = BufReader::new(batch.stderr.take().expect("it is piped")).lines();
    let mut said = said.map_while(Result::ok);
    assert!(said.any(|line| line.starts_with("stopping")), "it did not hear");
    batch
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_ends_what_it_has_begun_and_sends_nothing_more() {
    let name = "an_interrupted_run_ends_what_it_has_begun_and_sends_nothing_more";
    let Some(scene) = scene(name, &["--concurrency", "3"], &requests(&["POST"], 9)) else { return };
    let mut batch = interrupted(&scene);
    scene.server.answer(100);
    assert!(!batch.wait().expect("it ends").success(), "lines are left");
    assert_eq!(scene.received("POST").len(), 3);
    assert!(scene.finish().iter().all(|result| result.fate == Fate::Answered));
    assert!(scene.received("POST").values().all(|&times| times == 1));
}

#[cfg(unix)]
#[test]
fn a_run_that_is_interrupted_twice_waits_for_nothing_and_what_was_under_way_is_unknown() {
    let name = "a_run_that_is_interrupted_twice_waits_for_nothing_and_what_was_under_way_is_unknown";
    // Were it to wait, the test would, too.
    let options = &["--concurrency", "3", "--patience", "86400"];
    let Some(scene) = scene(name, options, &requests(&["POST"], 9)) else { return };
    let mut batch = interrupted(&scene);
    interrupt(&batch);
    assert!(!batch.wait().expect("it ends").success(), "lines are left");
    let results = scene.finish();
    let unknown: Vec<_> =
        results.iter().filter(|result| result.fate == Fate::Unknown).map(|result| result.line).collect();
    assert_eq!(unknown, [1, 2, 3]);
    assert!(scene.received("POST").values().all(|&times| times == 1));
}

#[test]
fn what_a_kill_cut_off_is_taken_away_and_written_again() {
    let name = "what_a_kill_cut_off_is_taken_away_and_written_again";
    let Some(scene) = scene(name, &[], &requests(&["POST", "GET"], 6)) else { return };
    let whole = scene.finish();
    let output = scene.folder.join("out");
    let file = OpenOptions::new().write(true).open(&output).expect("it was written");
    file.set_len(file.metadata().expect("it is there").len() - 30).expect("it can be cut");
    let mut journal = OpenOptions::new().append(true).open(Journal::path(&output)).expect("it was written");
    journal.write_all(br#"{"sen"#).expect("it can be written");
    assert_eq!(scene.finish(), whole);
    assert_eq!(scene.server.received().len(), 6, "what is known is not asked again");
}

#[test]
fn lines_that_are_no_requests_are_refused_and_keep_their_place() {
    let name = "lines_that_are_no_requests_are_refused_and_keep_their_place";
    let long = "x".repeat(2 * 1024 * 1024);
    let lines = [
        "{}",
        "",
        &long,
        r#"{"method": "GET", "path": "orders/4", "id": "four"}"#,
        r#"{"method": "G T", "path": "orders/5"}"#,
        r#"{"method": "GET", "path": "http://elsewhere/6"}"#,
        r#"{"method": "GET", "path": "orders/7", "retry": true}"#,
    ];
    let Some(scene) = scene(name, &[], &lines.join("\n")) else { return };
    let results = scene.finish();
    for result in &results {
        assert_eq!(result.fate, if result.line == 4 { Fate::Answered } else { Fate::Refused }, "{result:?}");
    }
    assert_eq!(results[3].id, Some(json!("four")));
    assert_eq!(scene.server.received().len(), 1);
}

#[test]
fn a_run_that_could_send_twice_does_not_begin() {
    let name = "a_run_that_could_send_twice_does_not_begin";
    let Some(scene) = scene(name, &[], &requests(&["POST"], 2)) else { return };
    scene.finish();
    for (more, want) in [
        (&[] as &[_], "exists; --resume goes on with it"),
        (&["--resume", "--idempotency-keys"], "--url or --idempotency-keys was another one"),
    ] {
        let refusal = scene.run(more).expect_err("it is not to begin");
        assert!(refusal.contains(want), "{refusal}");
    }
    fs::write(scene.folder.join("in"), requests(&["PUT"], 2)).expect("a file");
    let refusal = scene.run(&["--resume"]).expect_err("it is not to begin");
    assert!(refusal.contains("the input was another one"), "{refusal}");
    fs::remove_file(Journal::path(&scene.folder.join("out"))).expect("it is there");
    let refusal = scene.run(&["--resume"]).expect_err("it is not to begin");
    assert!(refusal.contains("is empty, and the output is not"), "{refusal}");
    assert_eq!(scene.server.received().len(), 2);
}

#[test]
fn two_runs_at_once_are_one_too_many() {
    let name = "two_runs_at_once_are_one_too_many";
    let Some(scene) = scene(name, &[], &requests(&["POST"], 2)) else { return };
    let mut batch = scene.spawn();
    scene.server.wait_for(2);
    let refusal = scene.run(&["--resume"]).expect_err("it is not to begin");
    assert!(refusal.contains("another process is at work on it"), "{refusal}");
    batch.kill().expect("it can be killed");
    batch.wait().expect("it was killed");
}
