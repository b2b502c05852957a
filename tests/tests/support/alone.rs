//! A test in a process of its own, for what is asked of the whole process: others start threads and open sockets all the time.

use std::env;
use std::process::Command;

/// Says to a process that it is the one in which there is nothing else.
const ALONE: &str = "STEADFAST_TEST_ALONE";

/// Runs the test with this path, which is the one that calls this, in a process of its own.
pub(crate) fn alone(path: &str, test: impl FnOnce()) {
    if env::var_os(ALONE).is_some() {
        return test();
    }
    let mut child = Command::new(env::current_exe().expect("a test is a program"));
    let name = path.split_once("::").expect("it is in a module").1;
    let output = child.args(["--exact", name, "--test-threads=1"]).env(ALONE, "").output().expect("it can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
