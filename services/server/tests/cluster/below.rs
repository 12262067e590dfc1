//! What a cluster stands on: one Cassandra node and a NATS server, in a folder of their own. They end with the test.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// A node answers after a few seconds, later on a busy machine.
const START_MAX: Duration = Duration::from_secs(180);

/// A database and a bus.
pub(crate) struct Below {
    host: String,
    folder: PathBuf,
    database: Child,
    bus: Option<Child>,
}

fn support(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/support").join(script)
}

/// What a script fetched, or found.
fn fetched(script: &str) -> String {
    let done = Command::new(support(script)).stderr(Stdio::inherit()).output().unwrap();
    assert!(done.status.success(), "{script} does not work on this machine");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

fn spawn(mut command: Command, log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
    command.spawn().unwrap()
}

fn wait_for(address: &str) {
    let deadline = Instant::now() + START_MAX;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nothing listens at {address}");
        sleep(Duration::from_millis(50)); // between two looks, until the deadline
    }
}

impl Below {
    /// Starts both on an address of this machine.
    pub(crate) fn start(host: &str, folder: &Path) -> Below {
        let jars = fetched("cassandra/prepare.sh");
        let mut database = Command::new(support("cassandra/up.sh"));
        database.args([Path::new(&jars), &folder.join("cassandra")]).args([host, host]);
        database.env("FLUSH_SCHEMA", "false");
        let database = spawn(database, &folder.join("cassandra.log"));
        let mut below = Below { host: host.to_owned(), folder: folder.to_owned(), database, bus: None };
        below.start_bus();
        wait_for(&below.database());
        below
    }

    pub(crate) fn database(&self) -> String {
        format!("{}:9042", self.host)
    }

    pub(crate) fn bus(&self) -> String {
        format!("{}:4222", self.host)
    }

    pub(crate) fn start_bus(&mut self) {
        let mut bus = Command::new(fetched("nats/fetch.sh"));
        bus.args(["--jetstream", "--port", "4222", "--addr", &self.host]);
        bus.arg("--store_dir").arg(self.folder.join("nats"));
        self.bus = Some(spawn(bus, &self.folder.join("nats.log")));
        wait_for(&self.bus());
    }

    pub(crate) fn kill_bus(&mut self) {
        if let Some(bus) = self.bus.take() {
            end(bus);
        }
    }

    /// Stops the database as a machine that hangs does, or lets it go on.
    pub(crate) fn hang(&self, hang: bool) {
        let signal = if hang { Signal::STOP } else { Signal::CONT };
        kill_process_group(Pid::from_child(&self.database), signal).unwrap();
    }
}

fn end(mut child: Child) {
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let _ = child.wait();
}

impl Drop for Below {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.database), Signal::KILL);
        let _ = self.database.wait();
        self.kill_bus();
    }
}
