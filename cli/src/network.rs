//! How commands name a coordinator, and how long they run.

use anyhow::{Context, Result};
use depx_protocol::Address;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

/// `0xADDRESS@HOST:PORT`: who must answer, and where.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct CoordinatorName {
    pub(crate) address: Address,
    host: String,
}

impl CoordinatorName {
    pub(crate) fn new(address: Address, socket: SocketAddr) -> Self {
        Self { address, host: socket.to_string() }
    }

    /// Looks the host up. Of several addresses, one of IPv4 is taken: coordinators listen there unless told otherwise.
    pub(crate) fn resolve(&self) -> Result<SocketAddr> {
        let found = self.host.to_socket_addrs().with_context(|| {
            format!("cannot look up {}; is the coordinator's name spelled right, and this machine online?", self.host)
        })?;
        found.min_by_key(SocketAddr::is_ipv6).with_context(|| format!("{} has no address", self.host))
    }
}

impl FromStr for CoordinatorName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = "expected 0xADDRESS@HOST:PORT, as the coordinator prints it when it starts";
        let (address, host) = text.split_once('@').ok_or(usage)?;
        let port = host.rsplit_once(':').ok_or(usage)?.1;
        port.parse::<u16>().map_err(|_| format!("{port:?} is not a port; {usage}"))?;
        let address = address.parse().map_err(|error| format!("{error}; {usage}"))?;
        Ok(Self { address, host: host.to_owned() })
    }
}

impl fmt::Display for CoordinatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.address, self.host)
    }
}

/// From now on SIGINT and SIGTERM are heeded: they end the future, and with `follow_stdin` the end of standard input does too, so
/// that a parent takes its children along however it dies.
pub(crate) fn until_stopped(follow_stdin: bool) -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let stdin = async move {
        if !follow_stdin {
            std::future::pending::<()>().await;
        }
        let mut stdin = tokio::io::stdin();
        while stdin.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
    };
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = stdin => {}
        }
    })
}

/// The runtime of commands that talk to others.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    // Nodes execute jobs on these threads; with a large stack none has to be made for each job.
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    let runtime =
        threads.thread_stack_size(depx_runtime::THREAD_STACK).enable_all().build().context("cannot start threads")?;
    let done = runtime.block_on(future);
    // A read from standard input cannot be cancelled.
    runtime.shutdown_background();
    done
}
