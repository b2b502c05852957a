//! What do my clients do to a server that is down, and does it get up again under them?
//!
//! `cargo run --release -p steadfast-examples --example outage` plays one outage through four kinds of client, prints
//! what came of it, and draws `target/outage.svg`. Nothing here waits: it is minutes of simulated time, the same in
//! every run.

mod picture;
mod scene;

use std::error::Error;
use std::fs;
use std::path::Path;

use scene::Played;

fn main() -> Result<(), Box<dyn Error>> {
    let played = scene::play();
    show(&played);

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target");
    fs::create_dir_all(&folder)?;
    let path = folder.join("outage.svg");
    picture::draw(&path, &played)?;
    println!("\nDrawn to {}.", path.display());
    Ok(())
}

fn show(played: &[Played]) {
    println!("{}\n{}\n", scene::TITLE, scene::SETTING);
    let heads = ["client", "requests in the outage", "fullest second", "well again after", "calls that failed"];
    let mut table = vec![heads.map(str::to_owned)];
    for Played { name, report, .. } in played {
        let failed = report.calls - report.succeeded;
        table.push([
            (*name).to_owned(),
            scene::extra_load(report),
            format!("{:.1} × normal", scene::peak(report)),
            scene::recovery(report).unwrap_or_else(|| "not in 2 minutes".to_owned()),
            format!("{failed} of {}", report.calls),
        ]);
    }
    let width = |column: usize| table.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let [w0, w1, w2, w3, w4]: [usize; 5] = std::array::from_fn(width);
    for [name, load, peak, recovery, failed] in &table {
        println!("{name:w0$}  {load:>w1$}  {peak:>w2$}  {recovery:>w3$}  {failed:>w4$}");
    }
}
