//! Time and link as the host tells them, see [`wire`]: a driver for embassy-time, an executor of one task, a [`Link`].

use core::cell::{Cell, RefCell};
use core::fmt::{self, Write};
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use critical_section::Mutex;
use steadfast_core::time::Instant;
use steadfast_firmware::board;
use steadfast_station::{Link, Log, Text, wire};

/// What the host has told, and what there is to tell it.
struct Told {
    micros: Mutex<Cell<u64>>,
    /// The earliest of the times that somebody has slept towards since the host was last asked.
    next: Mutex<Cell<u64>>,
    arrived: Mutex<RefCell<Arrived>>,
}

/// What has arrived on the link, and how much of it is read.
struct Arrived {
    bytes: [u8; 1024],
    from: usize,
    to: usize,
}

embassy_time_driver::time_driver_impl!(static TOLD: Told = Told {
    micros: Mutex::new(Cell::new(0)),
    next: Mutex::new(Cell::new(u64::MAX)),
    arrived: Mutex::new(RefCell::new(Arrived { bytes: [0; 1024], from: 0, to: 0 })),
});

impl embassy_time_driver::Driver for Told {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.micros.borrow(cs).get())
    }

    /// Wakes nobody: the one task is polled whenever time has moved, and says again until when it sleeps.
    fn schedule_wake(&self, at: u64, _: &Waker) {
        critical_section::with(|cs| self.next.borrow(cs).set(self.next.borrow(cs).get().min(at)));
    }
}

/// The serial line to the host.
pub struct Serial;

/// Tells the host that the firmware runs, and returns seed and number of readings.
pub fn hello() -> (u64, u32) {
    frame(wire::HELLO, &[]);
    hear();
    critical_section::with(|cs| {
        let mut arrived = TOLD.arrived.borrow_ref_mut(cs);
        arrived.from = arrived.to;
        (number(&arrived.bytes[..8]), u32::try_from(number(&arrived.bytes[8..12])).unwrap_or(u32::MAX))
    })
}

/// Runs a future to its end. While it waits, the host is asked what comes first.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        let next = critical_section::with(|cs| TOLD.next.borrow(cs).replace(u64::MAX));
        frame(wire::WAITS, &next.to_le_bytes());
        hear();
    }
}

/// Takes what the host answers.
fn hear() {
    let micros = number(&[(); 8].map(|()| board::receive()));
    let len = number(&[(); 2].map(|()| board::receive()));
    critical_section::with(|cs| {
        TOLD.micros.borrow(cs).set(micros);
        let mut arrived = TOLD.arrived.borrow_ref_mut(cs);
        if arrived.from == arrived.to {
            (arrived.from, arrived.to) = (0, 0);
        }
        for _ in 0..len {
            let (to, byte) = (arrived.to, board::receive());
            // As from any serial line: what nobody takes is lost when there is no more room.
            if let Some(free) = arrived.bytes.get_mut(to) {
                *free = byte;
                arrived.to += 1;
            }
        }
    });
}

/// Sends a frame.
pub fn frame(kind: u8, payload: &[u8]) {
    let [low, high, ..] = payload.len().to_le_bytes();
    [kind, low, high].iter().chain(payload).for_each(|byte| board::send(*byte));
}

/// Sends a line of text.
pub fn text(kind: u8, what: fmt::Arguments<'_>) {
    let mut line = Text::<256>::new();
    // A line that is too long is cut, and then it is not the host's.
    let _ = line.write_fmt(what);
    frame(kind, line.bytes());
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Log for Serial {
    fn line(&self, now: Instant, what: fmt::Arguments<'_>) {
        text(wire::SAID, format_args!("{} {what}", now.as_nanos()));
    }
}

impl Link for Serial {
    fn send(&self, bytes: &[u8]) {
        frame(wire::SENT, bytes);
    }

    fn receive(&self) -> impl Future<Output = u8> {
        poll_fn(|_| {
            critical_section::with(|cs| {
                let mut arrived = TOLD.arrived.borrow_ref_mut(cs);
                if arrived.from == arrived.to {
                    return Poll::Pending;
                }
                arrived.from += 1;
                Poll::Ready(arrived.bytes[arrived.from - 1])
            })
        })
    }

    fn discard(&self) {
        critical_section::with(|cs| {
            let mut arrived = TOLD.arrived.borrow_ref_mut(cs);
            arrived.from = arrived.to;
        });
    }
}
