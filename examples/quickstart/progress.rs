//! How far a campaign is: a bar on a terminal, a line each second elsewhere.

use std::io::{IsTerminal, stderr};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::campaign::Campaign;

/// Goes to stderr, so that stdout has the result alone.
#[derive(Debug)]
pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines { start: Instant },
}

impl Progress {
    pub(crate) fn start(label: &'static str, calls: u32) -> Self {
        if !stderr().is_terminal() {
            return Self::Lines { start: Instant::now() };
        }
        let style = ProgressStyle::with_template("{prefix:>9} {bar:32.green} {pos}/{len} calls {elapsed}  {msg}")
            .expect("a valid template");
        Self::Bar(ProgressBar::new(u64::from(calls)).with_style(style).with_prefix(label))
    }

    /// A call has ended.
    pub(crate) fn advance(&self, campaign: &Campaign) {
        if let Self::Bar(bar) = self {
            bar.set_message(failed(campaign));
            bar.set_position(ended(campaign));
        }
    }

    /// A second has passed.
    pub(crate) fn second(&self, campaign: &Campaign) {
        match self {
            Self::Bar(bar) => bar.tick(),
            Self::Lines { start } => {
                let (ended, elapsed) = (ended(campaign), start.elapsed());
                let Campaign { label, calls, .. } = campaign;
                eprintln!("{label:>9}: {ended}/{calls} calls in {elapsed:.1?}, {}", failed(campaign));
            }
        }
    }

    /// All calls have ended.
    pub(crate) fn end(&self, campaign: &Campaign) {
        self.advance(campaign);
        match self {
            Self::Bar(bar) => {
                bar.abandon();
                // The bar leaves the cursor at its end.
                eprintln!();
            }
            Self::Lines { .. } => self.second(campaign),
        }
    }
}

fn ended(campaign: &Campaign) -> u64 {
    (campaign.succeeded() + campaign.failed()) as u64
}

fn failed(campaign: &Campaign) -> String {
    format!("{} failed", campaign.failed())
}
