//! Cassandra nodes of a test run, on loopback addresses of their own. They die with the process that started them,
//! however it ends.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use journal_cql::Config;
use parking_lot::{Mutex, MutexGuard};

/// What the nodes call where they are.
pub(crate) const DATACENTER: &str = "datacenter1";
const PORT: u16 = 9042;
/// A node answers after a few seconds, later on a machine that is busy.
const START_MAX: Duration = Duration::from_secs(180);

/// How long the node that nobody harms may take for a statement.
const PATIENT: Duration = Duration::from_secs(20);

/// One node: a process group of its own.
struct Node {
    address: Ipv4Addr,
    folder: PathBuf,
    seed: Ipv4Addr,
    process: Option<Child>,
}

/// A cluster, removed when it is dropped.
pub(crate) struct Cluster {
    nodes: Vec<Mutex<Node>>,
    addresses: Vec<Ipv4Addr>,
    folder: tempfile::TempDir,
}

fn support(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/support/cassandra").join(script)
}

/// Where the jars are; they are fetched where they are missing.
fn jars() -> String {
    let done = Command::new(support("prepare.sh")).stderr(Stdio::piped()).output().expect("a shell");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "Cassandra cannot be prepared on this machine: {said}");
    String::from_utf8(done.stdout).expect("a path").trim().to_owned()
}

/// Addresses in a network of loopback that nobody else listens in: `127.n.m.1` and on.
fn free_addresses(count: u8) -> Vec<Ipv4Addr> {
    let pid = std::process::id();
    for step in 0..200_u32 {
        let number = (pid.wrapping_mul(31) + step * 7919) % (250 * 250);
        let network = [
            (number / 250 % 250 + 2).try_into().expect("small"),
            (number % 250 + 1).try_into().expect("small"),
        ];
        let all: Vec<_> = (1..=count).map(|host| Ipv4Addr::new(127, network[0], network[1], host)).collect();
        let is_free = |address: &Ipv4Addr| {
            [PORT, 7000].into_iter().all(|port| TcpListener::bind((*address, port)).is_ok())
        };
        if all.iter().all(is_free) {
            return all;
        }
    }
    panic!("no loopback address is free");
}

fn prefix(process: u32) -> String {
    format!("cargo-pilot-cassandra-{process}-")
}

/// Removes the data of test runs that were killed.
fn remove_leftovers() {
    let entries = std::fs::read_dir(std::env::temp_dir()).expect("a folder");
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix("cargo-pilot-cassandra-") else { continue };
        let lives = rest.split('-').next().is_some_and(|pid| Path::new("/proc").join(pid).exists());
        if !lives {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Node {
    /// Starts it, or starts it again with the data that it has: `again` if that may happen.
    fn start(&mut self, jars: &str, log: &Path, again: bool) {
        let log = File::options().create(true).append(true).open(log).expect("a log");
        let mut command = Command::new(support("up.sh"));
        command.args([jars, self.folder.to_str().expect("a path")]);
        command.args([self.address.to_string(), self.seed.to_string()]);
        command.env("FLUSH_SCHEMA", again.to_string());
        if !again {
            // No fault is meant here, and a machine that is busy is none.
            command.env("TIMEOUT_S", PATIENT.as_secs().to_string());
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log).process_group(0);
        die_with_parent(&mut command);
        self.process = Some(command.spawn().expect("a node starts"));
    }

    fn signal(&self, signal: i32) {
        let process = self.process.as_ref().expect("it runs");
        let group = i32::try_from(process.id()).expect("a process id");
        // SAFETY: sends a signal to the group of a child that is not waited for yet.
        #[allow(unsafe_code)]
        let done = unsafe { libc::kill(-group, signal) };
        assert_eq!(done, 0, "a signal is sent");
    }

    fn kill(&mut self) {
        if self.process.is_some() {
            self.signal(libc::SIGKILL);
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.wait();
        }
    }
}

/// The thread that starts a node may end before the test run does, so a watching shell is no use; the kernel ends
/// the node when that thread ends, and nodes are started from one that stays.
pub(crate) fn die_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec only calls that are safe there.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// Runs on the thread that starts all nodes and never ends before the process.
fn on_keeper<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    type Work = Box<dyn FnOnce() + Send>;
    static KEEPER: std::sync::OnceLock<std::sync::mpsc::Sender<Work>> = std::sync::OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (keeper, work) = std::sync::mpsc::channel::<Work>();
        std::thread::spawn(move || work.into_iter().for_each(|work| work()));
        keeper
    });
    let (answer, answered) = std::sync::mpsc::channel();
    keeper.send(Box::new(move || drop(answer.send(work())))).expect("the keeper stays");
    answered.recv().expect("the keeper answers")
}

impl Cluster {
    /// Starts nodes, one after the other, and waits until each answers.
    pub(crate) fn start(count: u8) -> Cluster {
        on_keeper(move || {
            let addresses = free_addresses(count);
            remove_leftovers();
            let folder =
                tempfile::Builder::new().prefix(&prefix(std::process::id())).tempdir().expect("a folder");
            let node = |address: &Ipv4Addr| {
                let folder = folder.path().join(address.to_string());
                Mutex::new(Node { address: *address, folder, seed: addresses[0], process: None })
            };
            let nodes = addresses.iter().map(node).collect();
            let cluster = Cluster { nodes, addresses, folder };
            (0..count.into()).for_each(|at| cluster.start_here(at));
            cluster
        })
    }

    fn node(&self, at: usize) -> MutexGuard<'_, Node> {
        self.nodes[at].lock()
    }

    fn log(&self, at: usize) -> PathBuf {
        self.folder.path().join(format!("{at}.log"))
    }

    fn start_here(&self, at: usize) {
        let mut node = self.node(at);
        node.start(&jars(), &self.log(at), self.nodes.len() > 1);
        let (since, address) = (Instant::now(), SocketAddr::from((node.address, PORT)));
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            let ended = node.process.as_mut().expect("started").try_wait().expect("a child");
            let log = || std::fs::read_to_string(self.log(at)).unwrap_or_default();
            assert!(ended.is_none(), "a node ended: {}", log());
            assert!(since.elapsed() < START_MAX, "a node does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Nodes that keep each row.
    pub(crate) fn copies(&self) -> u8 {
        u8::try_from(self.nodes.len()).expect("few").min(3)
    }

    pub(crate) fn config(&self, keyspace: &str) -> Config {
        let contact_points = self.addresses.iter().map(|address| format!("{address}:{PORT}")).collect();
        let config = Config::new(contact_points, keyspace, DATACENTER);
        match self.nodes.len() {
            1 => Config { request_timeout: PATIENT + Duration::from_secs(1), ..config },
            _ => config,
        }
    }
}

impl Cluster {
    /// Kills a node.
    pub(crate) fn kill(&self, at: usize) {
        self.node(at).kill();
    }

    /// Lets a node stand still, and go on.
    pub(crate) fn pause(&self, at: usize) {
        self.node(at).signal(libc::SIGSTOP);
    }

    pub(crate) fn go_on(&self, at: usize) {
        self.node(at).signal(libc::SIGCONT);
    }

    /// Brings all nodes back, with the data that they have.
    pub(crate) fn restore(&'static self) {
        for at in 0..self.nodes.len() {
            if self.node(at).process.is_some() {
                self.go_on(at);
            } else {
                on_keeper(move || self.start_here(at));
            }
        }
    }

    /// Ends all nodes, and removes their data.
    pub(crate) fn end(&self) {
        (0..self.nodes.len()).for_each(|at| self.node(at).kill());
        let _ = std::fs::remove_dir_all(self.folder.path());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end();
    }
}
