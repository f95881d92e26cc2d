//! Submits jobs to a coordinator and follows them to a verified result, if need be over another connection.
//!
//! The coordinator is not trusted to count: the client checks every receipt itself, that enough different executors signed the
//! result it is told, and that the output is the one that they signed.

mod offers;

use bytes::Bytes;
use depx_protocol::wire::{ALPN_CLIENT, CLOSE_MOVED, ClientEvent};
use depx_protocol::{
    Address, Blob, BundleError, Hash, JobOutput, JobSpec, OutputError, ReceiptBundle, ResultCore, SecretKey,
    SignedJobSpec, SpecError,
};
use depx_transport::{
    Dialled, EndpointError, FrameError, GreetingError, Quiet, REDIAL, Together, bounded, chain, client_endpoint, dial,
    read_bytes, read_frame, signer, write_frame,
};
use offers::Offers;
use quinn::{ConnectionError, Endpoint, VarInt};
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// A coordinator that cannot be reached for so long is given up; between attempts pass pauses of these lengths.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// Output of all items together that is read at most.
const MAX_OUTPUT: u64 = 4 << 30;
/// Receipts of one job at most: a committee of seven, each replaced a few times.
const MAX_RECEIPTS: usize = 64;

/// A submission that did not come to a verified result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No socket.
    #[error("cannot open a QUIC endpoint")]
    Endpoint(#[from] EndpointError),
    /// No connection to the coordinator.
    #[error("cannot connect to the coordinator")]
    Greeting(#[from] GreetingError),
    /// The connection is gone.
    #[error("the connection to the coordinator was lost")]
    Connection(#[from] ConnectionError),
    /// The conversation broke off.
    #[error("the conversation with the coordinator broke off")]
    Frame(#[from] FrameError),
    /// The spec is wrong.
    #[error("the job spec is not valid")]
    Spec(#[from] SpecError),
    /// The spec names another client.
    #[error("the job spec could not be signed; it must name the client whose key this connection has")]
    Unsigned,
    /// The coordinator wants a blob that the caller did not give.
    #[error("the job names blob {0}, which was not given")]
    MissingBlob(Hash),
    /// The job has no result.
    #[error("the job failed: {0}")]
    Failed(String),
    /// The coordinator passed on a receipt that proves nothing.
    #[error("the coordinator sent a receipt that is not valid")]
    Receipt(#[from] BundleError),
    /// A receipt for something else.
    #[error("the coordinator sent a receipt by another coordinator")]
    Foreign,
    /// Too few receipts for the result.
    #[error("the coordinator says that the nodes agree, but only {signed} of {needed} signed that result")]
    TooFew {
        /// How many different executors signed.
        signed: usize,
        /// How many the job's consistency needs.
        needed: usize,
    },
    /// Output of another result.
    #[error("the coordinator sent an output that is not the one that the nodes signed")]
    Output(#[from] OutputError),
    /// Messages out of order.
    #[error("the coordinator did not say what was expected at this point")]
    Unexpected,
}

/// What happens to a job on the way.
#[derive(Clone, Debug)]
pub enum JobEvent {
    /// The coordinator has accepted the job.
    Queued,
    /// A node has accepted a lease.
    Dispatched {
        /// Which.
        executor: Address,
    },
    /// A node did not deliver.
    NoShow {
        /// Which.
        executor: Address,
        /// Why.
        detail: String,
    },
    /// A node has voted; its receipt is verified.
    Vote(Box<ReceiptBundle>),
    /// The connection was lost. The job goes on; what has happened to it is told again over the next connection.
    Lost {
        /// Why.
        reason: String,
    },
}

/// A job's verified result.
#[derive(Clone, Debug)]
pub struct Completed {
    /// The job's identity.
    pub job: Hash,
    /// What the majority signed.
    pub result: ResultCore,
    /// The output that belongs to it.
    pub output: JobOutput,
    /// Every receipt, also those of dissenters.
    pub receipts: Vec<ReceiptBundle>,
    /// Who signed something else.
    pub dissenters: Vec<Address>,
}

/// A client of a coordinator, connected to it whenever it submits.
pub struct Client {
    endpoint: Endpoint,
    remote: SocketAddr,
    coordinator: Address,
    key: SecretKey,
    specs: Together<JobSpec, SignedJobSpec>,
    session: Mutex<Arc<Session>>,
}

/// One connection.
struct Session {
    dialled: Dialled,
    offers: Offers,
}

impl Client {
    /// Connects to the coordinator at `remote`, which must prove to be `coordinator`.
    pub async fn connect(remote: SocketAddr, coordinator: Address, key: SecretKey) -> Result<Self, ClientError> {
        let (endpoint, _) = client_endpoint(ALPN_CLIENT)?;
        let session = Session::open(&endpoint, remote, coordinator, &key).await?;
        let (specs, session) = (signer(key.clone()), Mutex::new(Arc::new(session)));
        Ok(Self { endpoint, remote, coordinator, key, specs, session })
    }

    /// Submits a job, sends what the coordinator lacks of `blobs`, and waits for the result. Any number of jobs may be under way at once.
    /// A connection that is lost is replaced, and the job followed over the new one.
    pub async fn submit(
        &self,
        spec: JobSpec,
        blobs: &HashMap<Hash, Bytes>,
        mut on_event: impl FnMut(JobEvent),
    ) -> Result<Completed, ClientError> {
        spec.validate()?;
        if spec.client != self.key.address() {
            return Err(ClientError::Unsigned);
        }
        let job = spec.id();
        let signed = self.specs.ask(spec).await.ok_or(ClientError::Unsigned)?;
        // Since nothing was heard of it any more.
        let mut lost = None;
        loop {
            let session = self.session().await?;
            let mut hear = |event| {
                lost = None;
                on_event(event);
            };
            let followed = tokio::select! {
                followed = self.follow(&session, job, &signed, blobs, &mut hear) => followed,
                silent = session.silent() => Err(silent),
            };
            match followed {
                Err(error) if error.is_loss() && lost.get_or_insert_with(Instant::now).elapsed() < PATIENCE => {
                    on_event(JobEvent::Lost { reason: bounded(&chain(&error)) });
                }
                done => return done,
            }
            session.dialled.connection.close(CLOSE_MOVED.into(), b"the client goes on over another connection");
            sleep(FIRST_RETRY).await;
        }
    }

    /// The connection, or a new one if it is gone.
    async fn session(&self) -> Result<Arc<Session>, ClientError> {
        let mut session = self.session.lock().await;
        if session.dialled.connection.close_reason().is_none() {
            return Ok(session.clone());
        }
        let deadline = Instant::now() + PATIENCE;
        let mut retry = FIRST_RETRY;
        loop {
            match Session::open(&self.endpoint, self.remote, self.coordinator, &self.key).await {
                Ok(opened) => {
                    *session = Arc::new(opened);
                    return Ok(session.clone());
                }
                Err(error) if Instant::now() + retry > deadline => return Err(error),
                Err(_) => sleep(retry).await,
            }
            retry = (retry * 2).min(LAST_RETRY);
        }
    }

    /// Follows a job over one connection.
    async fn follow(
        &self,
        session: &Session,
        job: Hash,
        signed: &SignedJobSpec,
        blobs: &HashMap<Hash, Bytes>,
        on_event: &mut impl FnMut(JobEvent),
    ) -> Result<Completed, ClientError> {
        // Before the coordinator can ask.
        let offer = |blob: &Blob| Some(session.offers.offer(*blob, blobs.get(&blob.hash)?.clone()));
        let mut offers: Vec<_> = signed.spec.blobs().filter_map(offer).collect();
        let (mut send, mut receive) = session.dialled.connection.open_bi().await?;
        write_frame(&mut send, signed).await?;
        let mut receipts = Vec::<ReceiptBundle>::new();
        loop {
            match read_frame(&mut receive).await? {
                ClientEvent::Need { blobs: needed } => {
                    if let Some(missing) = needed.iter().find(|blob| !blobs.contains_key(&blob.hash)) {
                        return Err(ClientError::MissingBlob(missing.hash));
                    }
                }
                ClientEvent::Queued { job: queued } if queued == job => {
                    offers.clear();
                    on_event(JobEvent::Queued);
                }
                ClientEvent::Queued { .. } => return Err(ClientError::Unexpected),
                ClientEvent::Dispatched { executor } => on_event(JobEvent::Dispatched { executor }),
                ClientEvent::NoShow { executor, detail } => {
                    on_event(JobEvent::NoShow { executor, detail: bounded(&detail) });
                }
                ClientEvent::Vote { vote } => {
                    let bundle = Box::new(vote.into_bundle(signed.clone()));
                    if bundle.assignment.assignment.coordinator != self.coordinator {
                        return Err(ClientError::Foreign);
                    }
                    bundle.assignment.verify().map_err(BundleError::from)?;
                    bundle.verify_execution(job)?;
                    if receipts.len() == MAX_RECEIPTS {
                        return Err(ClientError::Unexpected);
                    }
                    receipts.push((*bundle).clone());
                    on_event(JobEvent::Vote(bundle));
                }
                ClientEvent::Agreed { result, output_len, .. } => {
                    let output = read_bytes(&mut receive, output_len, MAX_OUTPUT).await?;
                    return conclude(job, result, signed.spec.consistency.quorum(), receipts, &output);
                }
                ClientEvent::Failed { reason } => return Err(ClientError::Failed(bounded(&reason))),
            }
        }
    }

    /// Says goodbye and waits until the coordinator knows.
    pub async fn close(self) {
        self.endpoint.close(VarInt::from_u32(0), b"the client is done");
        self.endpoint.wait_idle().await;
    }
}

impl Session {
    async fn open(
        endpoint: &Endpoint,
        remote: SocketAddr,
        coordinator: Address,
        key: &SecretKey,
    ) -> Result<Self, ClientError> {
        let dialled = dial(endpoint, remote, coordinator, key, None).await?;
        Ok(Self { offers: Offers::serve(dialled.connection.clone()), dialled })
    }

    /// Waits until the coordinator seems to have gone.
    async fn silent(&self) -> ClientError {
        let mut quiet = Quiet::watch(&self.dialled.connection);
        while quiet.look().await < REDIAL {}
        ConnectionError::TimedOut.into()
    }
}

impl ClientError {
    /// Whether the job can be followed over another connection.
    fn is_loss(&self) -> bool {
        match self {
            Self::Connection(_) => true,
            Self::Frame(error) => error.is_loss(),
            _ => false,
        }
    }
}

/// Counts the receipts, and checks the output against what they say.
fn conclude(
    job: Hash,
    result: Hash,
    quorum: usize,
    receipts: Vec<ReceiptBundle>,
    output: &[u8],
) -> Result<Completed, ClientError> {
    let (mut agreeing, mut dissenters) = (BTreeSet::new(), BTreeSet::new());
    for receipt in &receipts {
        let body = &receipt.receipt.body;
        if body.result == result {
            agreeing.insert(body.executor)
        } else {
            dissenters.insert(body.executor)
        };
    }
    let too_few = ClientError::TooFew { signed: agreeing.len(), needed: quorum };
    let winner = receipts.iter().find(|receipt| receipt.receipt.body.result == result);
    let Some(core) = winner.filter(|_| agreeing.len() >= quorum).map(|receipt| receipt.result.clone()) else {
        return Err(too_few);
    };
    let output = JobOutput::verified(output, &core)?;
    Ok(Completed { job, result: core, output, receipts, dissenters: dissenters.into_iter().collect() })
}
