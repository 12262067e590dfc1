//! Processes that answer calls and count them, and a caller.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use peers::{Peers, Resolve, ServeSettings, Settings, Tls, serve};
use proto::catalog::v1::publication_service_client::PublicationServiceClient;
use proto::catalog::v1::publication_service_server::{PublicationService, PublicationServiceServer};
use proto::catalog::v1::{
    AdvancePublicationRequest, CreatePublicationRequest, GetPublicationRequest, ListPublicationsRequest,
    ListPublicationsResponse, PreviewPublicationRequest, PreviewPublicationResponse, Publication,
    RollBackPublicationRequest,
};
use rpc::{Remote, Services, Transport};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Nothing here takes longer unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a process does with a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// Answers after so many milliseconds.
    Answer(u64),
    /// Says that it cannot work right now.
    Unavailable,
    /// Never answers.
    Hang,
}

/// What a process has seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// How often each call began, by what names it.
    pub(crate) begun: Mutex<HashMap<String, u32>>,
    pub(crate) calls: AtomicUsize,
    pub(crate) under_way: AtomicUsize,
    /// The most that were under way at the same time.
    pub(crate) under_way_max: AtomicUsize,
    /// Calls that were dropped before they were answered.
    pub(crate) dropped: AtomicUsize,
    pub(crate) last_timeout_ms: AtomicU32,
}

/// The service of one process.
struct Publications {
    seen: Arc<Seen>,
    mood: Arc<Mutex<Mood>>,
    address: SocketAddr,
}

struct UnderWay<'a>(&'a Seen, bool);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        if !self.1 {
            self.0.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Publications {
    async fn answer(&self, id: &str, headers: &http::HeaderMap) -> Result<Publication, Status> {
        *self.seen.begun.lock().entry(id.to_owned()).or_default() += 1;
        self.seen.calls.fetch_add(1, Ordering::SeqCst);
        let under_way = self.seen.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.seen.under_way_max.fetch_max(under_way, Ordering::SeqCst);
        let mut here = UnderWay(&self.seen, false);
        let left = rpc::time_left(headers).map_or(0, |left| u32::try_from(left.as_millis()).unwrap());
        self.seen.last_timeout_ms.store(left, Ordering::SeqCst);
        let mood = *self.mood.lock();
        match mood {
            Mood::Answer(0) => {}
            Mood::Answer(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Mood::Unavailable => {
                here.1 = true;
                return Err(Status::unavailable("not now"));
            }
            Mood::Hang => std::future::pending().await,
        }
        here.1 = true;
        Ok(Publication { id: id.to_owned(), note: self.address.to_string(), ..Publication::default() })
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl PublicationService for Publications {
    async fn get_publication(&self, request: Request<GetPublicationRequest>) -> Answer<Publication> {
        let (headers, _, asked) = request.into_parts();
        self.answer(&asked.publication_id, headers.as_ref()).await.map(Response::new)
    }

    async fn create_publication(&self, request: Request<CreatePublicationRequest>) -> Answer<Publication> {
        let (headers, _, asked) = request.into_parts();
        let id = asked.publication.unwrap_or_default().note;
        self.answer(&id, headers.as_ref()).await.map(Response::new)
    }

    async fn list_publications(
        &self,
        _: Request<ListPublicationsRequest>,
    ) -> Answer<ListPublicationsResponse> {
        // Larger than what is kept of an answer.
        let publication = |_| Publication { note: "x".repeat(100_000), ..Publication::default() };
        let publications = (0..60).map(publication).collect();
        Ok(Response::new(ListPublicationsResponse { publications, ..ListPublicationsResponse::default() }))
    }

    async fn preview_publication(
        &self,
        _: Request<PreviewPublicationRequest>,
    ) -> Answer<PreviewPublicationResponse> {
        Err(Status::unimplemented("not here"))
    }

    async fn advance_publication(&self, _: Request<AdvancePublicationRequest>) -> Answer<Publication> {
        Err(Status::unimplemented("not here"))
    }

    async fn roll_back_publication(&self, _: Request<RollBackPublicationRequest>) -> Answer<Publication> {
        Err(Status::unimplemented("not here"))
    }
}

/// A process: its own threads, so that it can die without a word.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    pub(crate) mood: Arc<Mutex<Mood>>,
    stop: CancellationToken,
    ended: Option<oneshot::Receiver<usize>>,
    runtime: Option<Runtime>,
}

/// How a process is started.
#[derive(Clone)]
pub(crate) struct Start {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) serve: ServeSettings,
    pub(crate) drain: Duration,
    pub(crate) mood: Mood,
}

impl Default for Start {
    fn default() -> Self {
        Start {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            serve: ServeSettings::default(),
            drain: PATIENCE,
            mood: Mood::Answer(0),
        }
    }
}

impl Start {
    pub(crate) fn at(address: SocketAddr) -> Self {
        Start { address, ..Start::default() }
    }

    pub(crate) async fn run(self) -> Node {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.spawn(TcpListener::bind(self.address)).await.unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, mood) = (Arc::<Seen>::default(), Arc::new(Mutex::new(self.mood)));
        let service = Publications { seen: Arc::clone(&seen), mood: Arc::clone(&mood), address };
        let services = Services::new(PublicationServiceServer::new(service));
        let stop = CancellationToken::new();
        let (tell, ended) = oneshot::channel();
        let serving = serve(listener, services, self.tls, self.serve, stop.clone(), self.drain);
        runtime.spawn(async move {
            // Nobody may wait for it.
            let _ = tell.send(serving.await);
        });
        Node { address, seen, mood, stop, ended: Some(ended), runtime: Some(runtime) }
    }
}

impl Node {
    /// Ends in good order; answers how many calls were cut off.
    pub(crate) async fn end(&mut self) -> usize {
        self.stop.cancel();
        let ended = tokio::time::timeout(2 * PATIENCE, self.ended.take().unwrap()).await;
        ended.expect("it ends in time").expect("it says so")
    }

    /// Dies: its sockets are closed in the middle of whatever it does.
    pub(crate) async fn kill(mut self) -> Arc<Seen> {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await.unwrap();
        Arc::clone(&self.seen)
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.calls.load(Ordering::SeqCst)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// `count` processes on addresses of their own.
pub(crate) async fn nodes(count: u8) -> Vec<Node> {
    let start = |at: u8| Start::at(SocketAddr::from(([127, 0, 0, at], 0))).run();
    join_all((1..=count).map(start)).await
}

pub(crate) fn addresses(nodes: &[Node]) -> Vec<SocketAddr> {
    nodes.iter().map(|node| node.address).collect()
}

/// An address where nobody listens.
pub(crate) fn nowhere() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.9:0").unwrap().local_addr().unwrap()
}

/// A resolver that says what it is told.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) addresses: Mutex<BTreeMap<String, Vec<SocketAddr>>>,
    pub(crate) fails: Mutex<bool>,
    pub(crate) asked: AtomicUsize,
}

impl Names {
    pub(crate) fn say(&self, host: &str, addresses: Vec<SocketAddr>) {
        self.addresses.lock().insert(host.to_owned(), addresses);
    }

    /// Waits until it has been asked twice: the first answer may have been on its way already.
    pub(crate) async fn was_heard(&self) {
        let before = self.asked.load(Ordering::SeqCst);
        until("the resolver is asked", || self.asked.load(Ordering::SeqCst) >= before + 2).await;
    }
}

impl Resolve for Names {
    fn resolve(&self, host: &str, _: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = match *self.fails.lock() {
            true => Err(io::Error::other("the name server is away")),
            false => Ok(self.addresses.lock().get(host).cloned().unwrap_or_default()),
        };
        std::future::ready(answer).boxed()
    }
}

/// Settings that name `entries` for the role `catalog`, and look often.
pub(crate) fn settings(entries: &[&str]) -> Settings {
    let entries = entries.iter().map(|entry| (*entry).to_owned()).collect();
    Settings {
        services: BTreeMap::from([("catalog".to_owned(), entries)]),
        resolve_every_ms: 50,
        ..Settings::default()
    }
}

/// Settings that name the addresses of `nodes`.
pub(crate) fn fixed(addresses: &[SocketAddr]) -> Settings {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    settings(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Calls the service.
#[derive(Clone)]
pub(crate) struct Caller(PublicationServiceClient<Transport>);

/// What a call carries.
#[derive(Clone, Copy, Default)]
pub(crate) struct With<'a> {
    pub(crate) key: Option<&'a str>,
    pub(crate) within: Option<Duration>,
}

impl With<'_> {
    fn request<T>(self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(within) = self.within {
            request.set_timeout(within);
        }
        if let Some(key) = self.key {
            request.metadata_mut().insert(rpc::header::IDEMPOTENCY_KEY, key.parse().unwrap());
        }
        request
    }
}

impl Caller {
    pub(crate) fn new(peers: &Arc<Peers>) -> Self {
        Self::over(peers.remote())
    }

    pub(crate) fn over(remote: Arc<dyn Remote>) -> Self {
        let client = PublicationServiceClient::new(rpc::remote(remote));
        Caller(client.max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20))
    }

    /// Reads; answers who answered.
    pub(crate) async fn read(&self, id: &str, with: With<'_>) -> Result<SocketAddr, Status> {
        let asked = GetPublicationRequest { publication_id: id.to_owned() };
        let answer = self.0.clone().get_publication(with.request(asked)).await?.into_inner();
        assert_eq!(answer.id, id);
        Ok(answer.note.parse().unwrap())
    }

    /// Writes; answers who answered.
    pub(crate) async fn write(&self, id: &str, with: With<'_>) -> Result<SocketAddr, Status> {
        let publication = Publication { note: id.to_owned(), ..Publication::default() };
        let asked = CreatePublicationRequest { publication: Some(publication) };
        let answer = self.0.clone().create_publication(with.request(asked)).await?.into_inner();
        assert_eq!(answer.id, id);
        Ok(answer.note.parse().unwrap())
    }

    pub(crate) async fn list(&self) -> Result<usize, Status> {
        let answer = self.0.clone().list_publications(ListPublicationsRequest::default()).await?;
        Ok(answer.into_inner().publications.len())
    }
}

/// Which calls a load makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Read,
    KeyedWrite,
    Write,
}

/// Calls that go on until they are stopped.
pub(crate) struct Load {
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<Vec<(String, Status)>>>,
    pub(crate) done: Arc<AtomicUsize>,
}

impl Load {
    /// `callers` that each make one call after the other.
    pub(crate) fn start(caller: &Caller, kind: Kind, callers: usize) -> Self {
        let (stop, done) = (CancellationToken::new(), Arc::<AtomicUsize>::default());
        let work = |number: usize| {
            let (caller, stop, done) = (caller.clone(), stop.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut failed = Vec::new();
                for turn in 0.. {
                    if stop.is_cancelled() {
                        break;
                    }
                    let id = format!("{kind:?}-{number}-{turn}");
                    let with = With { key: Some(&id), ..With::default() };
                    let answer = match kind {
                        Kind::Read => caller.read(&id, With::default()).await,
                        Kind::KeyedWrite => caller.write(&id, with).await,
                        Kind::Write => caller.write(&id, With::default()).await,
                    };
                    done.fetch_add(1, Ordering::SeqCst);
                    failed.extend(answer.err().map(|status| (id, status)));
                }
                failed
            })
        };
        let tasks = (0..callers).map(work).collect();
        Load { stop, tasks, done }
    }

    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    /// Waits until so many more calls have been made.
    pub(crate) async fn more(&self, count: usize) {
        let goal = self.done() + count;
        until("calls are made", || self.done() >= goal).await;
    }

    /// Stops, and answers which calls failed.
    pub(crate) async fn end(self) -> Vec<(String, Status)> {
        self.stop.cancel();
        let all = join_all(self.tasks.into_iter().map(|task| tokio::time::timeout(PATIENCE, task))).await;
        all.into_iter().flat_map(|task| task.expect("calls end").expect("no panic")).collect()
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until so many processes of `catalog` are connected.
pub(crate) async fn connected(peers: &Arc<Peers>, count: usize) {
    let is_connected =
        || peers.endpoints("catalog").iter().filter(|endpoint| endpoint.is_connected).count() == count;
    until("processes are connected", is_connected).await;
}
