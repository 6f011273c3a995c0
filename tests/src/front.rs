//! An address behind which the control plane may be, or something else: what a host sees when others
//! have the network. Each connection gets a thread that acts as the test says.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A connection, with or without TLS. A read that finds nothing comes back soon.
pub trait Conversation: Read + Write + Send {}

impl<C: Read + Write + Send> Conversation for C {}

/// What is done with a connection.
pub type Act = Arc<dyn Fn(&mut dyn Conversation) + Send + Sync>;

/// A listening address whose behaviour can be changed. Closes everything on drop.
pub struct Front {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    mood: Mutex<Mood>,
    open: Mutex<Vec<TcpStream>>,
    accepted: AtomicUsize,
    ended: AtomicBool,
}

#[derive(Clone)]
struct Mood {
    tls: Option<Arc<ServerConfig>>,
    act: Act,
}

impl Front {
    /// Listens on a loopback port.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn start(tls: Option<&Arc<ServerConfig>>, act: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let mood = Mutex::new(Mood { tls: tls.cloned(), act });
        let shared = Arc::new(Shared {
            mood,
            open: Mutex::default(),
            accepted: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Self { port, shared }
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections there were.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Closes all connections; those that come from now on are treated so.
    ///
    /// # Panics
    /// When an act has panicked.
    pub fn behave(&self, tls: Option<&Arc<ServerConfig>>, act: Act) {
        *self.shared.mood.lock().expect("the mood") = Mood { tls: tls.cloned(), act };
        self.shared.close_all();
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.close_all();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            self.accepted.fetch_add(1, Ordering::SeqCst);
            let mood = self.mood.lock().expect("the mood").clone();
            stream.set_read_timeout(Some(LOOK)).expect("set a timeout");
            self.open.lock().expect("the list").push(share(&stream));
            let mut stream = stream;
            thread::spawn(move || {
                let (act, whole) = (mood.act, share(&stream));
                match mood.tls {
                    None => act(&mut stream),
                    Some(tls) => {
                        let tls = ServerConnection::new(tls).expect("a TLS configuration");
                        let mut stream = StreamOwned::new(tls, stream);
                        act(&mut stream);
                        stream.conn.send_close_notify();
                        // The client may be gone.
                        drop(stream.flush());
                    }
                }
                // Others hold the stream too.
                drop(whole.shutdown(Shutdown::Both));
            });
        }
    }

    fn close_all(&self) {
        for stream in self.open.lock().expect("the list").drain(..) {
            // It may be closed already.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn share(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("share the stream")
}

/// Passes everything on to a port of this machine, and back.
#[must_use]
pub fn forward_to(port: u16) -> Act {
    Arc::new(move |client| {
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)) else { return };
        server.set_read_timeout(Some(LOOK)).expect("set a timeout");
        while pass(client, &mut server) && pass(&mut server, client) {}
    })
}

/// Takes what comes and says nothing.
#[must_use]
pub fn stall() -> Act {
    Arc::new(|client| until_closed(client))
}

/// Sends these bytes without waiting for a request, and then nothing more.
#[must_use]
pub fn say_and_stall(bytes: &[u8]) -> Act {
    let bytes = bytes.to_vec();
    Arc::new(move |client| {
        if client.write_all(&bytes).and_then(|()| client.flush()).is_ok() {
            until_closed(client);
        }
    })
}

/// Reads a request, sends these bytes, and closes.
#[must_use]
pub fn answer(bytes: impl AsRef<[u8]>) -> Act {
    let bytes = bytes.as_ref().to_vec();
    Arc::new(move |client| {
        if read_request(client).is_some() {
            // The client may be gone.
            drop(client.write_all(&bytes).and_then(|()| client.flush()));
        }
    })
}

/// Reads a request, sends the first bytes once, and the second again and again.
#[must_use]
pub fn answer_without_end(first: impl AsRef<[u8]>, again: impl AsRef<[u8]>, pause: Duration) -> Act {
    let (first, again) = (first.as_ref().to_vec(), again.as_ref().to_vec());
    Arc::new(move |client| {
        let mut alive = read_request(client).is_some() && client.write_all(&first).is_ok();
        while alive {
            alive = client.write_all(&again).and_then(|()| client.flush()).is_ok();
            thread::sleep(pause);
        }
    })
}

/// The head of a request; nothing when none comes.
pub fn read_request(client: &mut dyn Conversation) -> Option<String> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut bytes = [0; 4096];
        match client.read(&mut bytes) {
            Ok(0) => return None,
            Ok(count) => request.extend_from_slice(&bytes[..count]),
            Err(error) if is_nothing_yet(&error) => {}
            Err(_) => return None,
        }
    }
    Some(String::from_utf8_lossy(&request).into_owned())
}

fn until_closed(client: &mut dyn Conversation) {
    loop {
        match client.read(&mut [0; 4096]) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if is_nothing_yet(&error) => {}
            Err(_) => return,
        }
    }
}

/// Passes on what is there; false once there is nothing more to come.
fn pass(from: &mut (impl Read + ?Sized), to: &mut (impl Write + ?Sized)) -> bool {
    let mut bytes = [0; 64 * 1024];
    match from.read(&mut bytes) {
        Ok(0) => false,
        Ok(count) => to.write_all(&bytes[..count]).and_then(|()| to.flush()).is_ok(),
        Err(error) => is_nothing_yet(&error),
    }
}

fn is_nothing_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// How long a read waits: an answer may be held up this long on its way.
const LOOK: Duration = Duration::from_millis(3);
