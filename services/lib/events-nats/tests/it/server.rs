//! A real NATS server with JetStream, in a folder of its own.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};

use events_nats::{Config, NatsBus};

/// One server, which can be killed and started again.
pub(crate) struct Server {
    name: String,
    port: u16,
    monitor: u16,
    folder: tempfile::TempDir,
    extra: String,
    child: Option<Child>,
}

fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/support/nats/fetch.sh");
        let output = Command::new(script).stderr(Stdio::inherit()).output().expect("the script runs");
        assert!(output.status.success(), "there is no nats-server: see tests/support/nats");
        PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim())
    })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Server {
    /// A server that runs.
    pub(crate) fn start() -> Server {
        Server::with("")
    }

    /// The same with more lines in its configuration.
    pub(crate) fn with(extra: &str) -> Server {
        let mut server = Server::stopped("one", extra);
        server.up();
        server
    }

    /// A server that does not run yet.
    pub(crate) fn stopped(name: &str, extra: &str) -> Server {
        // Silent, unless RUST_LOG says otherwise.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
        let folder = tempfile::tempdir().expect("a folder");
        Server {
            name: name.into(),
            port: free_port(),
            monitor: free_port(),
            folder,
            extra: extra.into(),
            child: None,
        }
    }

    /// Three servers that know each other.
    pub(crate) fn cluster() -> Vec<Server> {
        let ports = [free_port(), free_port(), free_port()];
        let routes: Vec<_> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let routes = routes.join(", ");
        let servers = ports.iter().zip(["one", "two", "three"]).map(|(port, name)| {
            let cluster =
                format!("cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n");
            Server::stopped(name, &cluster)
        });
        let mut servers: Vec<_> = servers.collect();
        servers.iter_mut().for_each(Server::up);
        servers
    }

    pub(crate) fn up(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let mut text = String::new();
        let store = self.folder.path().join("store");
        writeln!(text, "server_name: {}\nlisten: \"127.0.0.1:{}\"", self.name, self.port).expect("writes");
        writeln!(text, "http: \"127.0.0.1:{}\"", self.monitor).expect("writes");
        let limits = "max_mem: 64MB, max_file: 8GB";
        writeln!(text, "jetstream {{ store_dir: {store:?}, sync_interval: always, {limits} }}")
            .expect("writes");
        text.push_str(&self.extra);
        let file = self.folder.path().join("nats.conf");
        fs::write(&file, text).expect("writes");
        let log = fs::File::create(self.folder.path().join("log")).expect("a log");
        // It ends with the thread that started it, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(binary()).arg("-c").arg(file);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("setpriv runs");
        self.child = Some(child);
    }

    /// It stays there, and answers nobody.
    pub(crate) fn hang(&self) {
        let child = self.child.as_ref().expect("it runs");
        let done = Command::new("kill").args(["-STOP", &child.id().to_string()]).status();
        assert!(done.expect("kill runs").success());
    }

    /// As with `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is ours");
            child.wait().expect("it ends");
        }
    }

    /// What it has on disk now.
    pub(crate) fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().expect("a folder");
        copy_folder(&self.folder.path().join("store"), &copy.path().join("store"));
        copy
    }

    /// Gives it what it had on disk.
    pub(crate) fn restore(&self, copy: tempfile::TempDir) {
        assert!(self.child.is_none(), "it runs");
        let store = self.folder.path().join("store");
        fs::remove_dir_all(&store).expect("removes");
        copy_folder(&copy.path().join("store"), &store);
        drop(copy);
    }

    /// Whether the server says that it has caught up with the others, in all that it has.
    pub(crate) fn is_healthy(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.monitor)) else { return false };
        let request = "GET /healthz HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        let mut answer = String::new();
        let done = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        done.is_ok() && answer.starts_with("HTTP/1.1 200")
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn config(&self) -> Config {
        Config::new("test", vec![self.url()])
    }

    /// A bus of one process, connected.
    pub(crate) async fn bus(&self) -> Arc<NatsBus> {
        connected(self.config()).await
    }

    /// Looks at the server past the code that is tested.
    pub(crate) async fn admin(&self) -> async_nats::jetstream::Context {
        let client = async_nats::ConnectOptions::new().retry_on_initial_connect();
        let client = client.connect(self.url()).await.expect("connects");
        async_nats::jetstream::new(client)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(15).collect();
            eprintln!("server {}:\n{}", self.name, last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copies");
        }
    }
}

pub(crate) async fn connected(config: Config) -> Arc<NatsBus> {
    let bus = NatsBus::connect(config).await.expect("settings");
    crate::world::eventually("a connection", async || bus.is_connected()).await;
    bus
}
