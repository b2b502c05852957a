//! What an adapter for a runtime or a transport has no room for: an opinion.

use std::fs;
use std::path::Path;

/// Lines of code, without comments, empty lines and tests, of these files below `adapters/`.
fn lines_of_code(files: &[&str]) -> usize {
    let adapters = Path::new(env!("CARGO_MANIFEST_DIR")).join("../adapters");
    let of_file = |file: &&str| {
        let text = fs::read_to_string(adapters.join(file)).expect("it is there");
        let code =
            text.lines().map(str::trim).take_while(|line| !(line.starts_with("#[cfg(") && line.contains("test")));
        code.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
    };
    files.iter().map(of_file).sum()
}

/// Every file of every one is here: a new one has to be added to what it belongs to.
fn check(folders: &[&str], most: usize, adapters: &[&[&str]]) {
    for files in adapters {
        let lines = lines_of_code(files);
        assert!((10..most).contains(&lines), "{files:?} have {lines} lines of code");
    }
    let adapters_folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../adapters");
    for folder in folders {
        for entry in fs::read_dir(adapters_folder.join(folder).join("src")).expect("it is there").flatten() {
            let file = format!("{folder}/src/{}", entry.file_name().to_string_lossy());
            assert!(adapters.iter().any(|files| files.contains(&file.as_str())), "{file} is not counted");
        }
    }
}

#[test]
fn timer_adapters_are_under_100_lines() {
    let embassy = ["embassy/src/lib.rs", "embassy/src/rate.rs", "embassy/src/shared.rs"];
    check(&["tokio", "smol", "embassy"], 100, &[&["tokio/src/lib.rs"], &["smol/src/lib.rs"], &embassy]);
}

#[test]
fn transport_adapters_are_under_300_lines() {
    let reqwless = ["lib", "exchange", "failure", "request"].map(|file| format!("reqwless/src/{file}.rs"));
    let adapters: [&[&str]; 6] = [
        &["reqwest/src/lib.rs"],
        // Two transports, and what they share.
        &["hyper/src/lib.rs", "hyper/src/tls.rs"],
        &["hyper/src/on_tokio.rs"],
        &["hyper/src/on_smol.rs", "hyper/src/connection.rs", "hyper/src/pool.rs"],
        &["surf/src/lib.rs", "surf/src/body.rs", "surf/src/plain.rs"],
        &reqwless.each_ref().map(String::as_str),
    ];
    check(&["reqwest", "hyper", "surf", "reqwless"], 300, &adapters);
}
