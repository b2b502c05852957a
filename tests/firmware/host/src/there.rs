//! The station as firmware, on a machine that QEMU plays. This is the other end of its serial line: see [`wire`].

use std::io::{self, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use steadfast_core::time;
use steadfast_station::wire;

use crate::server::Server;

/// How long the firmware may say nothing, in real time. It computes for milliseconds at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run said, what it noted, the server that it talked to, and whether it ended well by its own judgement.
pub struct Run {
    pub said: String,
    pub notes: Vec<String>,
    pub server: Server,
    pub ended_well: bool,
}

/// Starts the firmware, and plays the other end of its line until it exits.
pub fn run(machine: &[&str], elf: &str, seed: u64, readings: u32) -> Result<Run, String> {
    let mut qemu = Qemu::start(machine, elf)?;
    let frames = frames_of(&mut qemu.0);
    let mut line = qemu.0.stdin.take().ok_or("no line to QEMU")?;
    let mut run = Run { said: String::new(), notes: Vec::new(), server: Server::new(seed), ended_well: false };
    run.play(&frames, &mut line, seed, readings)?;
    run.ended_well = qemu.exits_well()?;
    Ok(run)
}

/// Runs firmware that has nothing to say, and tells whether its exit code is zero.
pub fn exits_well(machine: &[&str], elf: &str) -> Result<bool, String> {
    Qemu::start(machine, elf)?.exits_well()
}

/// A machine. It does not outlive this.
struct Qemu(Child);

impl Qemu {
    fn start(machine: &[&str], elf: &str) -> Result<Self, String> {
        Command::new(machine[0])
            .args(&machine[1..])
            .args(["-display", "none", "-monitor", "none", "-serial", "stdio", "-kernel", elf])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map(Self)
            .map_err(|error| format!("{}: {error}", machine[0]))
    }

    fn exits_well(mut self) -> Result<bool, String> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait().map_err(|error| error.to_string())? {
                return Ok(status.success());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err("it does not end".to_owned())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // An error says that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

type Frame = (u8, Vec<u8>);

/// Reads what the firmware sends, on a thread of its own, so that one that says nothing is found out.
fn frames_of(qemu: &mut Child) -> Receiver<Frame> {
    let (to, frames) = channel();
    let line = qemu.stdout.take();
    thread::spawn(move || {
        let mut line = BufReader::new(line?);
        while let Ok(frame) = frame(&mut line) {
            to.send(frame).ok()?;
        }
        Some(())
    });
    frames
}

fn frame(line: &mut impl Read) -> io::Result<Frame> {
    let mut head = [0; 3];
    line.read_exact(&mut head)?;
    let mut payload = vec![0; usize::from(u16::from_le_bytes([head[1], head[2]]))];
    line.read_exact(&mut payload)?;
    Ok((head[0], payload))
}

impl Run {
    fn play(
        &mut self,
        frames: &Receiver<Frame>,
        line: &mut ChildStdin,
        seed: u64,
        readings: u32,
    ) -> Result<(), String> {
        let (mut now, mut idle) = (time::Instant::EPOCH, 0);
        loop {
            let (kind, payload) = frames.recv_timeout(PATIENCE).map_err(|error| {
                let last = self.said.lines().last().unwrap_or("nothing");
                format!("no word from it any more ({error}); the last was: {last}")
            })?;
            match kind {
                wire::HELLO => {
                    let told = [&seed.to_le_bytes()[..], &readings.to_le_bytes()].concat();
                    tell(line, now, &told)?;
                }
                wire::SENT => self.server.receive(now, &payload),
                wire::SAID => {
                    self.said.push_str(&String::from_utf8_lossy(&payload));
                    self.said.push('\n');
                }
                wire::NOTED => self.notes.push(String::from_utf8_lossy(&payload).into_owned()),
                wire::WAITS => {
                    let micros =
                        payload.try_into().map(u64::from_le_bytes).map_err(|_| "a time of other than 8 bytes")?;
                    let until = (micros != u64::MAX).then(|| time::Instant::from_nanos(micros.saturating_mul(1_000)));
                    let first = until.into_iter().chain(self.server.next_arrival()).min();
                    let next = now.max(first.ok_or("it waits for ever")?);
                    idle = if next == now { idle + 1 } else { 0 };
                    if idle > 100 {
                        return Err(format!("it spins at {now}"));
                    }
                    now = next;
                    let arrived = self.server.arrived(now);
                    tell(line, now, &arrived)?;
                }
                wire::ENDED => return Ok(()),
                kind => return Err(format!("a frame of kind {kind}")),
            }
        }
    }
}

fn tell(line: &mut ChildStdin, now: time::Instant, arrived: &[u8]) -> Result<(), String> {
    let len = u16::try_from(arrived.len()).map_err(|error| error.to_string())?;
    let micros = now.as_nanos() / 1_000;
    let told = [&micros.to_le_bytes()[..], &len.to_le_bytes(), arrived].concat();
    line.write_all(&told).and_then(|()| line.flush()).map_err(|error| format!("the line is cut: {error}"))
}
