//! How far the run is: a bar on a terminal, a line each second elsewhere. On stderr, so that stdout has the result alone.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use crate::delivery::{Delivery, Fate};

/// What was written so far, and the bar that shows it.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Results of earlier runs.
    earlier: u64,
    /// Results of this run.
    fates: BTreeMap<Fate, u64>,
    lines: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn start(lines: u64, earlier: u64) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:32.green} {pos}/{len} lines {elapsed}, {eta} to go  {msg}")
                .expect("a valid template");
            ProgressBar::new(lines).with_style(style).with_position(earlier)
        });
        if let Some(bar) = &bar {
            // What was done before says nothing about how fast this is.
            bar.reset_eta();
        }
        Self { earlier, fates: BTreeMap::new(), lines, bar }
    }

    /// A result was written.
    pub(crate) fn advance(&mut self, delivery: &Delivery) {
        *self.fates.entry(delivery.fate).or_default() += 1;
        if let Some(bar) = &self.bar {
            bar.set_position(self.delivered());
            bar.set_message(self.summary());
        }
    }

    /// A second has passed.
    pub(crate) fn second(&self) {
        match &self.bar {
            Some(bar) => bar.tick(),
            None => tell(&self.summary()),
        }
    }

    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
            // The bar leaves the cursor at its end.
            tell("");
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.delivered() == self.lines
    }

    /// One line, for people and machines.
    pub(crate) fn summary(&self) -> String {
        let count = |fate| self.fates.get(&fate).copied().unwrap_or_default();
        let [answered, failed, refused, unknown] =
            [Fate::Answered, Fate::Failed, Fate::Refused, Fate::Unknown].map(count);
        let (lines, earlier, left) = (self.lines, self.earlier, self.lines - self.delivered());
        format!(
            "lines={lines} earlier={earlier} answered={answered} failed={failed} refused={refused} unknown={unknown} left={left}"
        )
    }

    fn delivered(&self) -> u64 {
        self.earlier + self.fates.values().sum::<u64>()
    }
}

/// A line on stderr. That nobody reads it any more is no reason to stop, as it is for `eprintln!`.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}
