//! Times two sides in turn, counts what they allocate, and shows both.

use std::fs;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

/// How many operations a side does at least: few enough for a quick pass, enough that what happens once in a batch (a
/// clock that is moved on, a call through a pointer) does not show.
pub(crate) const BATCH: u64 = 1_000;

/// How long it is measured.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    rounds: usize,
    /// How long one side runs in one round, at least: long against what reading the clock costs, short against the time
    /// slices of a busy machine, so that most rounds are undisturbed and both sides of one find it equally busy.
    round: Duration,
}

impl Pace {
    /// For numbers.
    pub(crate) const THOROUGH: Self = Self { rounds: 1_001, round: Duration::from_micros(200) };

    /// To see that everything runs. Its numbers are worth little.
    pub(crate) const QUICK: Self = Self { rounds: 11, round: Duration::from_micros(50) };
}

/// What a row measures, and whether ours may allocate.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// Ours makes no allocation, or the benchmark fails.
    AllocationFree(&'static str),
    /// Allocations are counted and shown.
    Allocating(&'static str),
}

/// One side of a comparison: does so many batches of [`BATCH`] operations, and says how many of these came out as the
/// row promises. All of them must, or the two sides do not do the same.
pub(crate) type Side<'a> = &'a mut dyn FnMut(u64) -> u64;

/// Measures, and remembers the rows.
pub(crate) struct Bench {
    filter: Option<String>,
    pace: Pace,
    rows: Vec<Row>,
    /// What, and how many bytes.
    sizes: Vec<(String, f64)>,
}

#[derive(Serialize)]
struct Row {
    work: &'static str,
    ours_ns: f64,
    peer: &'static str,
    peer_ns: f64,
    ratio: f64,
    #[serde(skip)]
    quartiles: (f64, f64),
    #[serde(skip)]
    ours_allocations: f64,
    #[serde(skip)]
    peer_allocations: f64,
}

impl Bench {
    pub(crate) fn new(filter: Option<String>, pace: Pace) -> Self {
        Self { filter, pace, rows: Vec::new(), sizes: Vec::new() }
    }

    /// Whether the user asked for something of this name.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()))
    }

    /// Measures one row, if it is wanted.
    ///
    /// # Panics
    /// If an operation of either side does not come out as it should, or ours allocates where it must not.
    pub(crate) fn compare(&mut self, work: Work, peer: &'static str, ours: Side<'_>, theirs: Side<'_>) {
        let (Work::AllocationFree(name) | Work::Allocating(name)) = work;
        if !self.wants(name) && !self.wants(peer) {
            return;
        }
        eprintln!("{name}: ours and {peer}");
        let batches = [calibrate(name, ours, self.pace), calibrate(name, theirs, self.pace)];
        // After the first batches, in which either side may set up what it then keeps.
        let allocations = [allocations(name, ours), allocations(name, theirs)];
        if let Work::AllocationFree(_) = work {
            assert_eq!(allocations[0], 0, "{name}: ours allocated");
        }
        let warm_up = self.pace.rounds / 10;
        let rounds: Vec<[f64; 2]> = (0..warm_up + self.pace.rounds)
            .map(|_| [time(name, ours, batches[0]), time(name, theirs, batches[1])])
            .skip(warm_up)
            .collect();
        let sorted = |of: fn(&[f64; 2]) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let (ours_ns, peer_ns) = (quartile(&sorted(|round| round[0]), 2), quartile(&sorted(|round| round[1]), 2));
        let ratios = sorted(|round| round[0] / round[1]);
        let [ours_allocations, peer_allocations] = allocations.map(|count| count as f64 / BATCH as f64);
        self.rows.push(Row {
            work: name,
            ours_ns: rounded(ours_ns),
            peer,
            peer_ns: rounded(peer_ns),
            // Of each round's two times, which share their disturbances; the medians beside it need not come from the
            // same round, nor have exactly this quotient.
            ratio: rounded(quartile(&ratios, 2)),
            quartiles: (quartile(&ratios, 1), quartile(&ratios, 3)),
            ours_allocations,
            peer_allocations,
        });
    }

    /// Notes a size, to be shown below the rows.
    pub(crate) fn size(&mut self, what: impl Into<String>, bytes: f64) {
        self.sizes.push((what.into(), bytes));
    }

    /// Shows all rows and writes them down; returns where.
    pub(crate) fn finish(self) -> io::Result<PathBuf> {
        // Cargo sets this for benchmarks: a folder within the target folder, whichever way that was chosen.
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers.jsonl");
        let mut lines = String::new();
        for row in &self.rows {
            lines += &serde_json::to_string(row)?;
            lines.push('\n');
        }
        fs::write(&path, lines)?;
        show(&self.rows);
        if !self.sizes.is_empty() {
            let width = self.sizes.iter().map(|(what, _)| what.chars().count()).max().unwrap_or_default();
            println!("\n{:width$}  {:>8}", "size of", "bytes");
            for (what, bytes) in &self.sizes {
                println!("{what:width$}  {bytes:>8.0}");
            }
        }
        Ok(path)
    }
}

/// The table, its columns as wide as they need to be.
fn show(rows: &[Row]) {
    let heads = ["work", "ours ns", "peer", "peer ns", "ratio", "quartiles", "allocations"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        [
            row.work.to_owned(),
            format!("{:.2}", row.ours_ns),
            row.peer.to_owned(),
            format!("{:.2}", row.peer_ns),
            format!("{:.2}", row.ratio),
            format!("{:.2}–{:.2}", row.quartiles.0, row.quartiles.1),
            format!("{:.2} / {:.2}", row.ours_allocations, row.peer_allocations),
        ]
    });
    let table: Vec<[String; 7]> = std::iter::once(heads).chain(cells).collect();
    let width = |column: usize| table.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 7] = std::array::from_fn(width);
    println!();
    for line in &table {
        let [work, ours_ns, peer, peer_ns, ratio, quartiles, allocations] = line;
        let [w0, w1, w2, w3, w4, w5, w6] = widths;
        println!(
            "{work:w0$}  {ours_ns:>w1$}  {peer:w2$}  {peer_ns:>w3$}  {ratio:>w4$}  {quartiles:>w5$}  {allocations:>w6$}"
        );
    }
}

/// How many batches fill a round, and at most two. Finding out is also the first warm-up.
fn calibrate(name: &str, side: Side<'_>, pace: Pace) -> u64 {
    let mut batches = 1;
    let round = pace.round.as_secs_f64() * 1e9;
    while time(name, side, batches) * (batches * BATCH) as f64 <= round {
        batches *= 2;
    }
    batches
}

/// Nanoseconds per operation.
fn time(name: &str, side: Side<'_>, batches: u64) -> f64 {
    let mut took = Duration::ZERO;
    allocation_counter::opt_out(|| {
        let start = Instant::now();
        let done = black_box(side(black_box(batches)));
        took = start.elapsed();
        assert_eq!(done, batches * BATCH, "{name}: not every operation came out as it should");
    });
    took.as_secs_f64() * 1e9 / (batches * BATCH) as f64
}

/// How often a batch allocates, on the thread that measures.
fn allocations(name: &str, side: Side<'_>) -> u64 {
    let counted = allocation_counter::measure(|| {
        assert_eq!(black_box(side(black_box(1))), BATCH, "{name}: not every operation came out as it should");
    });
    counted.count_total
}

fn quartile(sorted: &[f64], quarter: usize) -> f64 {
    sorted.get((sorted.len() * quarter / 4).min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// More digits than this are noise.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
