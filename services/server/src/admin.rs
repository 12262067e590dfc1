//! The door for commands on the same machine: a socket in the data folder, for the user who runs the server.
//!
//! A caller sends one line that names what it wants. `backup 1`: the server answers with a backup, as a stream.
//! `keys 1 ` and a request of [`crate::keys`] as JSON: the server does it and answers with JSON, before which spaces
//! may come while it is at work.
//! `account 1 ` and a question of [`crate::account`] as JSON: it answers with one line, `ok ` and JSON, or `no ` and
//! why not.
//! `operator-access 1 ` and a question of [`crate::operator_access`]: the same.
//! `init 1 ` and a tenant of [`crate::init`]: the same.
//! `owner-key 1 <slug>`: it answers with one line, `ok ` and a new owner's key of the tenant, or `no ` and why not.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use sealed::Keyring;
use tracing::{info, warn};

use crate::account;
use crate::backup::Source;
use crate::cli::{self, Failure};
use crate::data::Stores;
use crate::{init, keys, operator_access, owner_key};

const NAME: &str = "admin.sock";
/// What asks for a backup.
pub(crate) const BACKUP: &[u8] = b"backup 1\n";
/// What is before a request about keys.
pub(crate) const KEYS: &str = "keys 1 ";
/// What asks for a new owner's key; the slug of the tenant follows.
pub(crate) const OWNER_KEY: &str = "owner-key 1 ";
/// What asks for a new tenant; what it is to be follows, as JSON.
pub(crate) const INIT: &str = "init 1 ";
/// What is before a question about the account of a tenant.
pub(crate) const ACCOUNT: &str = "account 1 ";
/// What is before a question about the access of the operator to a tenant.
pub(crate) const OPERATOR_ACCESS: &str = "operator-access 1 ";
/// Longest question or one-line answer, in bytes.
const LINE_BYTES_MAX: u64 = 4096;
/// Longest path of a socket that every system takes.
const PATH_MAX: usize = 100;
/// How long a caller may neither ask nor read.
const PATIENCE: Duration = Duration::from_secs(60);
/// Callers at the same time.
const CALLERS_MAX: usize = 8;

/// What callers may ask for.
pub(crate) struct Door {
    /// Backups, where all stores are.
    pub(crate) source: Option<Source>,
    /// The keys that seal what is stored, where this process alone has them.
    pub(crate) keyring: Option<Arc<Keyring>>,
    /// What the operator may do for a tenant, where the tenant service is.
    pub(crate) tenants: Option<tenant::App>,
    /// Where that runs.
    pub(crate) runtime: tokio::runtime::Handle,
}

/// Listens until it is dropped, and ends what is under way then.
pub(crate) struct Admin {
    path: PathBuf,
    callers: Arc<Mutex<Callers>>,
}

#[derive(Default)]
struct Callers {
    closed: bool,
    next: u64,
    open: Vec<(u64, UnixStream)>,
}

impl Admin {
    /// Opens the door of a data folder whose stores are open. Without it the server serves all the same.
    pub(crate) fn open(data: &Path, door: Door) -> Option<Admin> {
        let path = data.join(NAME);
        match listen(data) {
            Ok(listener) => {
                let callers = Arc::new(Mutex::default());
                let (at, shared) = (path.clone(), Arc::clone(&callers));
                let run = move || accept(&listener, &Arc::new(door), &shared);
                match thread::Builder::new().name("admin".into()).spawn(run) {
                    Ok(_) => return Some(Admin { path: at, callers }),
                    Err(error) => warn!("no thread for '{}': {error}", path.display()),
                }
            }
            Err(error) => {
                warn!(
                    "'{}' cannot be opened: {error}: this server cannot be backed up while it runs",
                    path.display()
                );
            }
        }
        None
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        let mut callers = self.callers.lock();
        callers.closed = true;
        for (_, caller) in callers.open.drain(..) {
            let _ = caller.shutdown(Shutdown::Both); // it sees that its answer is not whole
        }
        drop(callers);
        // Wakes the thread that listens.
        let _ = connect_at(&self.path);
        let _ = fs::remove_file(&self.path); // the next start replaces it
    }
}

/// A socket that nobody but its user can open, at no moment.
fn listen(data: &Path) -> io::Result<UnixListener> {
    let (draft, path) = (data.join("admin.new"), data.join(NAME));
    for old in [&draft, &path] {
        match fs::remove_file(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let listener = at_short_path(&draft, |path| UnixListener::bind(path))?;
    fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
    fs::rename(&draft, &path)?;
    Ok(listener)
}

/// Connects to the server that runs on a data folder; `None` if there is none.
pub(crate) fn connect(data: &Path) -> Option<UnixStream> {
    let stream = connect_at(&data.join(NAME)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

fn connect_at(path: &Path) -> io::Result<UnixStream> {
    at_short_path(path, |path| UnixStream::connect(path))
}

/// A socket's path is short; through its open folder any file can be named.
fn at_short_path<T>(path: &Path, open: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return open(path) };
    if path.as_os_str().len() <= PATH_MAX {
        return open(path);
    }
    let folder = File::open(folder)?;
    open(&Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

fn accept(listener: &UnixListener, door: &Arc<Door>, callers: &Arc<Mutex<Callers>>) {
    for caller in listener.incoming() {
        let mut open = callers.lock();
        if open.closed {
            return;
        }
        // Each caller that is turned away sees an answer that ends at once.
        let Ok(caller) = caller else { continue };
        let Ok(kept) = caller.try_clone() else { continue };
        if open.open.len() >= CALLERS_MAX {
            continue;
        }
        let number = open.next;
        open.next += 1;
        open.open.push((number, kept));
        drop(open);
        let (door, callers) = (Arc::clone(door), Arc::clone(callers));
        let answer = move || {
            if let Err(error) = answer(&door, &caller) {
                warn!("a command on the socket was not answered to its end: {error}");
            }
            callers.lock().open.retain(|(other, _)| *other != number);
        };
        let _ = thread::Builder::new().name("admin:caller".into()).spawn(answer);
    }
}

/// Asks the server that runs on a data folder for something with an answer of one line; `None` if no server runs.
/// The inner error is why the server does not do it.
pub(crate) fn ask(data: &Path, question: &str) -> Option<io::Result<Result<String, String>>> {
    let stream = connect(data)?;
    let talk = || {
        (&stream).write_all(format!("{question}\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new((&stream).take(LINE_BYTES_MAX)).read_line(&mut answer)?;
        let whole = answer.strip_suffix('\n').and_then(|answer| answer.split_once(' '));
        match whole {
            Some(("ok", text)) => Ok(Ok(text.to_owned())),
            Some(("no", why)) => Ok(Err(why.to_owned())),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer is not whole")),
        }
    };
    Some(talk())
}

/// Asks about tenants: the server that runs on a data folder, or, with `stopped`, the folder itself. The inner error
/// is why it is not done.
///
/// # Errors
/// The server does not answer, or the folder cannot be opened.
pub(crate) fn ask_tenants(
    data: &Path,
    root_key: Option<&Path>,
    question: &str,
    stopped: impl AsyncFnOnce(&tenant::App) -> Result<String, String>,
) -> Result<Result<String, String>, Failure> {
    if let Some(answer) = ask(data, question) {
        return answer.map_err(|error| {
            Failure::Unavailable(format!("the server on '{}' did not answer: {error}", data.display()))
        });
    }
    let stores = Stores::open_any(data, root_key)?;
    stopped_tenants(&stores, stopped)
}

/// Does something with the tenants of a stopped folder.
///
/// # Errors
/// The tenant service is not in the folder.
pub(crate) fn stopped_tenants<T>(
    stores: &Stores,
    work: impl AsyncFnOnce(&tenant::App) -> T,
) -> Result<T, Failure> {
    cli::run_async(async {
        let tenants = stores.tenants()?;
        let answered = work(tenants.app()).await;
        stores.close();
        Ok(answered)
    })
}

fn answer(door: &Door, caller: &UnixStream) -> io::Result<()> {
    caller.set_read_timeout(Some(PATIENCE))?;
    caller.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(caller.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    if line.as_bytes() == BACKUP {
        let Some(source) = &door.source else {
            return Err(io::Error::other(
                "a backup is made of all services, and this process has some of them",
            ));
        };
        info!("a backup begins");
        let mut to = BufWriter::with_capacity(256 * 1024, caller);
        source.write(&mut to)?;
        to.flush()?;
        info!("a backup was read to its end");
        return Ok(());
    }
    let Some(line) = line.strip_suffix('\n') else {
        return Err(io::Error::other("the question is not whole"));
    };
    let mut to = caller;
    if let Some(request) = line.strip_prefix(KEYS) {
        let request = serde_json::from_str(request)?;
        let answer =
            match &door.keyring {
                Some(keyring) => keys::answer(keyring, &request, || {
                    let _ = to.write_all(b" "); // it is done all the same if nobody waits any more
                }),
                None => Err("the keys are shared with other processes: they are not changed while those run"
                    .to_owned()),
            };
        return to.write_all(serde_json::to_string(&answer)?.as_bytes());
    }
    let run = &door.runtime;
    let Some(tenants) = &door.tenants else {
        return writeln!(to, "no the tenant service runs in another process: name its folder with --data");
    };
    let answer = if let Some(slug) = line.strip_prefix(OWNER_KEY) {
        run.block_on(owner_key::answer(tenants, slug))
    } else if let Some(new) = line.strip_prefix(INIT) {
        run.block_on(init::answer(tenants, &serde_json::from_str(new)?))
    } else if let Some(question) = line.strip_prefix(ACCOUNT) {
        run.block_on(account::answer(tenants, &serde_json::from_str(question)?))
    } else if let Some(question) = line.strip_prefix(OPERATOR_ACCESS) {
        run.block_on(operator_access::answer(tenants, &serde_json::from_str(question)?))
    } else {
        Err("this version does not know that command".to_owned())
    };
    match answer {
        Ok(text) => writeln!(to, "ok {text}"),
        Err(why) => writeln!(to, "no {why}"),
    }
}
