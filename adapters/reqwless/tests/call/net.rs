//! embedded-nal-async on the sockets of the standard library.
//!
//! They block, so a call waits only for its timer. That is a `ManualClock`, so all waits of the policies take no time.

use std::cell::Cell;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use embedded_io_async::{ErrorType, Read, Write};
use embedded_nal_async::{AddrType, Dns, TcpConnect};

pub(crate) struct Net {
    /// After how long without a byte a read is left waiting, so that time can pass.
    pub(crate) patience: Duration,
    /// How many connections were asked for.
    pub(crate) asked: Cell<u32>,
}

impl TcpConnect for Net {
    type Error = io::Error;
    type Connection<'a> = Connection;

    async fn connect(&self, remote: SocketAddr) -> io::Result<Connection> {
        self.asked.set(self.asked.get() + 1);
        let stream = TcpStream::connect(remote)?;
        stream.set_read_timeout(Some(self.patience))?;
        Ok(Connection(stream))
    }
}

impl Dns for Net {
    type Error = ();

    async fn get_host_by_name(&self, host: &str, _: AddrType) -> Result<IpAddr, ()> {
        host.parse().map_err(|_| ())
    }

    async fn get_host_by_address(&self, _: IpAddr, _: &mut [u8]) -> Result<usize, ()> {
        Err(())
    }
}

pub(crate) struct Connection(TcpStream);

impl ErrorType for Connection {
    type Error = io::Error;
}

impl Read for Connection {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::future::pending().await,
            result => result,
        }
    }
}

impl Write for Connection {
    async fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
