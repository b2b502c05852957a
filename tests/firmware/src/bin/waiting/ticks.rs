//! The machine's own clock as embassy's driver, and an executor that sleeps between its ticks: one each millisecond.

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

pub use machine::start;

struct Ticks;

embassy_time_driver::time_driver_impl!(static TICKS: Ticks = Ticks);

impl embassy_time_driver::Driver for Ticks {
    fn now(&self) -> u64 {
        machine::micros()
    }

    /// Wakes nobody: the one task is polled with each tick.
    fn schedule_wake(&self, _: u64, _: &Waker) {}
}

/// Runs a future to its end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        machine::sleep_for_a_tick();
    }
}

/// SysTick, which the nRF51 itself lacks and QEMU's has.
#[cfg(target_arch = "arm")]
mod machine {
    use core::sync::atomic::{AtomicU32, Ordering};

    use cortex_m::peripheral::SYST;
    use cortex_m::peripheral::syst::SystClkSource;

    #[cfg(steadfast_machine = "mps2-an386")]
    const HERTZ: u32 = 25_000_000;
    #[cfg(steadfast_machine = "microbit")]
    const HERTZ: u32 = 16_000_000;

    static MILLIS: AtomicU32 = AtomicU32::new(0);

    pub fn start() {
        let Some(mut peripherals) = cortex_m::Peripherals::take() else { return };
        let timer: &mut SYST = &mut peripherals.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(HERTZ / 1_000 - 1);
        timer.clear_current();
        timer.enable_counter();
        timer.enable_interrupt();
    }

    #[cortex_m_rt::exception]
    fn SysTick() {
        // Nobody else writes, so this needs no compare-and-swap.
        MILLIS.store(MILLIS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    pub fn micros() -> u64 {
        u64::from(MILLIS.load(Ordering::Relaxed)) * 1_000
    }

    pub fn sleep_for_a_tick() {
        cortex_m::asm::wfi();
    }
}

/// The CLINT, ten ticks of which are a microsecond on this machine.
#[cfg(target_arch = "riscv32")]
mod machine {
    use steadfast_firmware::board::{read_register, write_register};

    const MTIMECMP: usize = 0x0200_4000;
    const MTIME: usize = 0x0200_BFF8;

    pub fn start() {
        // SAFETY: interrupts stay disabled; what is enabled here only ends `wfi`, and interrupts nothing.
        unsafe { riscv::register::mie::set_mtimer() }
    }

    pub fn micros() -> u64 {
        loop {
            let (high, low) = (read_register(MTIME + 4), read_register(MTIME));
            if high == read_register(MTIME + 4) {
                return (u64::from(high) << 32 | u64::from(low)) / 10;
            }
        }
    }

    pub fn sleep_for_a_tick() {
        let at = (micros() + 1_000) * 10;
        write_register(MTIMECMP + 4, u32::MAX); // Not between the two halves.
        let [a, b, c, d, e, f, g, h] = at.to_le_bytes();
        write_register(MTIMECMP, u32::from_le_bytes([a, b, c, d]));
        write_register(MTIMECMP + 4, u32::from_le_bytes([e, f, g, h]));
        riscv::asm::wfi();
    }
}
