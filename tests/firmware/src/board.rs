//! The machines that QEMU plays, as far as they are needed: a serial line, and a way to end.
//!
//! | Target | Machine | Serial line | End |
//! | --- | --- | --- | --- |
//! | thumbv7em-none-eabihf | mps2-an386 | CMSDK UART 0 | semihosting |
//! | thumbv6m-none-eabi | microbit (nRF51, no compare-and-swap) | UART 0 | semihosting |
//! | riscv32imc-unknown-none-elf | virt | 16550 | SiFive test device |

#[cfg(target_arch = "arm")]
use cortex_m as _; // Brings the critical section.
#[cfg(target_arch = "riscv32")]
use riscv as _;

#[cfg(target_arch = "arm")]
pub use cortex_m_rt::entry;
#[cfg(target_arch = "riscv32")]
pub use riscv_rt::entry;

/// Makes the serial line ready.
#[cfg(steadfast_machine = "mps2-an386")]
pub fn init() {
    write_register(0x4000_4010, 16); // Baud rate: the smallest divisor that works.
    write_register(0x4000_4008, 0b11); // Transmit and receive.
}

/// Sends a byte.
#[cfg(steadfast_machine = "mps2-an386")]
pub fn send(byte: u8) {
    while read_register(0x4000_4004) & 1 != 0 {}
    write_register(0x4000_4000, u32::from(byte));
}

/// Waits for a byte.
#[cfg(steadfast_machine = "mps2-an386")]
pub fn receive() -> u8 {
    while read_register(0x4000_4004) & 2 == 0 {}
    low_byte(read_register(0x4000_4000))
}

/// Makes the serial line ready.
#[cfg(steadfast_machine = "microbit")]
pub fn init() {
    write_register(0x4000_2500, 4); // Enable.
    write_register(0x4000_2008, 1); // Start to transmit.
    write_register(0x4000_2000, 1); // Start to receive.
}

/// Sends a byte.
#[cfg(steadfast_machine = "microbit")]
pub fn send(byte: u8) {
    write_register(0x4000_211c, 0);
    write_register(0x4000_251c, u32::from(byte));
    while read_register(0x4000_211c) == 0 {}
}

/// Waits for a byte.
#[cfg(steadfast_machine = "microbit")]
pub fn receive() -> u8 {
    while read_register(0x4000_2108) == 0 {}
    write_register(0x4000_2108, 0); // Before the byte is taken: the next may come at once.
    low_byte(read_register(0x4000_2518))
}

/// Makes the serial line ready, which it is.
#[cfg(steadfast_machine = "virt")]
pub fn init() {}

/// Sends a byte.
#[cfg(steadfast_machine = "virt")]
pub fn send(byte: u8) {
    while read_byte_register(0x1000_0005) & 0x20 == 0 {}
    // SAFETY: the transmit register of the 16550, which has no effect on memory.
    unsafe { core::ptr::write_volatile(0x1000_0000 as *mut u8, byte) }
}

/// Waits for a byte.
#[cfg(steadfast_machine = "virt")]
pub fn receive() -> u8 {
    while read_byte_register(0x1000_0005) & 1 == 0 {}
    read_byte_register(0x1000_0000)
}

#[cfg(steadfast_machine = "virt")]
fn read_byte_register(address: usize) -> u8 {
    // SAFETY: only registers of the 16550 are read.
    unsafe { core::ptr::read_volatile(address as *const u8) }
}

#[cfg(target_arch = "arm")]
fn low_byte(word: u32) -> u8 {
    word.to_le_bytes()[0]
}

/// Reads a register of 32 bits of the machine.
pub fn read_register(address: usize) -> u32 {
    // SAFETY: callers name registers, or what nobody uses of the stack; both are aligned.
    unsafe { core::ptr::read_volatile(address as *const u32) }
}

/// Writes a register of 32 bits of the machine.
pub fn write_register(address: usize, value: u32) {
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(address as *mut u32, value) }
}

/// Ends the machine: QEMU's exit code is zero if all is well.
pub fn exit(well: bool) -> ! {
    loop {
        #[cfg(target_arch = "arm")]
        // SAFETY: semihosting's SYS_EXIT, with ADP_Stopped_ApplicationExit or ADP_Stopped_RunTimeErrorUnknown.
        unsafe {
            let reason = if well { 0x2_0026 } else { 0x2_0023 };
            core::arch::asm!("bkpt #0xab", inout("r0") 0x18 => _, in("r1") reason);
        }
        #[cfg(target_arch = "riscv32")]
        write_register(0x10_0000, if well { 0x5555 } else { 0x1_3333 });
    }
}

/// The stack below where it is now, painted so that [`deepest`](Self::deepest) tells how far it came.
pub struct Stack {
    lowest: usize,
    now: usize,
}

unsafe extern "C" {
    // Of the linker scripts of cortex-m-rt and riscv-rt, which agree on both.
    static _stack_start: u8;
    static __sheap: u8;
}

impl Stack {
    /// As much as is painted, if there is as much.
    const DEPTH: usize = 16 * 1024;
    const PAINT: u32 = 0xA5A5_5A5A;

    /// Paints it.
    #[inline(never)]
    pub fn paint() -> Self {
        let here = 0u32;
        let now = core::ptr::from_ref(&here).addr();
        let end_of_statics = (&raw const __sheap).addr().next_multiple_of(4);
        let lowest = end_of_statics.max(now - Self::DEPTH);
        // Up to what this very function uses.
        for address in (lowest..now - 128).step_by(4) {
            write_register(address, Self::PAINT);
        }
        Self { lowest, now }
    }

    /// How many bytes of it were in use at most, since the machine started.
    #[inline(never)]
    pub fn deepest(&self) -> usize {
        let mut painted = (self.lowest..self.now).step_by(4);
        let deepest = painted.find(|address| read_register(*address) != Self::PAINT);
        (&raw const _stack_start).addr() - deepest.unwrap_or(self.now)
    }
}
