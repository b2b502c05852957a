//! A thread that serves what connects to a free port of 127.0.0.1, until it is dropped.
//!
//! On the runtime of the client a server would be polled in turn with the client's tasks, so that a busy client delays
//! the very clock readings that judge it. A thread and a runtime of its own also let a client of any runtime, or of none,
//! be tested, and make the end simple: dropping it joins the thread, and with it every task and socket is gone.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A server's thread, and where it listens.
#[derive(Debug)]
pub struct Loopback {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Loopback {
    /// Has a thread of this name serve what connects, on a runtime of its own; returns when it accepts connections.
    ///
    /// # Errors
    /// If there is no thread, no runtime or no socket to be had.
    pub fn serve<F>(name: &str, serve: impl FnOnce(TcpListener) -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = ()>,
    {
        let (stop, stopped) = oneshot::channel();
        let (bound, address) = mpsc::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Err(error) = run(&bound, stopped, serve) {
                // `serve` still waits for the address, as nothing fails once that is known.
                let _ = bound.send(Err(error));
            }
        })?;
        let address = address.recv().map_err(io::Error::other)??;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and the address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed already; a second one here would abort the test that fails.
            let _ = thread.join();
        }
    }
}

/// The thread, from the first socket to the last: the runtime takes all tasks with it when it goes.
fn run<F: Future<Output = ()>>(
    bound: &mpsc::Sender<io::Result<SocketAddr>>,
    stopped: oneshot::Receiver<()>,
    serve: impl FnOnce(TcpListener) -> F,
) -> io::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let _ = bound.send(listener.local_addr());
        tokio::select! {
            _ = stopped => {}
            () = serve(listener) => {}
        }
        Ok(())
    })
}
