//! What clients of every kind get.

use super::*;
use crate::admin::{CallError, Fault, call, listens};
use crate::config::{LoadOptions, References, load};
use crate::journal::{Journal, Options};

struct Place {
    directory: tempfile::TempDir,
    data_dir: PathBuf,
}

impl Place {
    fn new() -> Self {
        Self::below("data")
    }

    fn below(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join(name);
        std::fs::create_dir_all(&data_dir).unwrap();
        Self { directory, data_dir }
    }

    fn office(&self) -> Arc<Office> {
        let config = self.directory.path().join("relay.yaml");
        let text = "
sources: {flipt: {type: file, path: /nowhere/audit.log}}
destinations: {out: {type: console}}
routes: {all: {to: [out]}}
data_dir: ";
        std::fs::write(&config, format!("{text}{}\n", self.data_dir.display())).unwrap();
        let options = LoadOptions {
            config: Some(config),
            environment: Vec::new(),
            references: References::Ignore,
            allow_inline_secrets: false,
        };
        let plan = load(&options).unwrap().plan;
        let (journal, _) = Journal::open(Options {
            data_dir: self.data_dir.clone(),
            keep: plan.journal.keep,
            max_size_bytes: plan.journal.max_size_bytes,
            lock_wait: Duration::ZERO,
            keeps_all: false,
        })
        .unwrap();
        let standing = crate::admin::Standing {
            plan: Arc::new(plan),
            lanes: Default::default(),
            sources: Default::default(),
            configuration: Default::default(),
        };
        Arc::new(Office::running(standing, journal))
    }

    fn open(&self) -> Control {
        Control::start(self.office(), &self.data_dir).unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.data_dir.join(NAME)
    }

    /// Asks for something that is refused whatever the journal holds.
    async fn is_answered(&self) {
        let answer = call(&self.data_dir, Some("ann"), &wrong()).await.unwrap();
        assert_eq!(answer.unwrap_err().fault, Fault::Usage);
    }

    /// Sends these bytes, and gives what comes back.
    async fn say(&self, bytes: &[u8]) -> String {
        let address = Address::of(&self.data_dir).unwrap();
        let mut stream = UnixStream::connect(&address.path).await.unwrap();
        // The relay may have heard enough before all of it is sent.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }
}

fn wrong() -> Command {
    Command::Backup { file: "relative".into() }
}

#[tokio::test]
async fn it_is_there_while_it_is_open_and_for_its_user_alone() {
    let place = Place::new();
    assert!(matches!(listens(&place.data_dir).await, Err(CallError::NobodyListens)));
    let control = place.open();
    let mode = place.socket().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    place.is_answered().await;
    listens(&place.data_dir).await.unwrap();
    control.stop().await;
    assert!(!place.socket().exists());
    assert!(matches!(call(&place.data_dir, None, &wrong()).await, Err(CallError::NobodyListens)));
}

#[tokio::test]
async fn what_a_dead_process_left_is_replaced_and_nothing_else() {
    let place = Place::new();
    drop(std::os::unix::net::UnixListener::bind(place.socket()).unwrap());
    assert!(matches!(listens(&place.data_dir).await, Err(CallError::NobodyListens)));
    let control = place.open();
    place.is_answered().await;
    control.stop().await;
    std::fs::write(place.socket(), "mine").unwrap();
    let occupied = Control::start(Place::new().office(), &place.data_dir);
    assert!(matches!(occupied, Err(ControlError::Occupied(_))));
    assert_eq!(std::fs::read_to_string(place.socket()).unwrap(), "mine");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_path_of_any_length_will_do() {
    let place = Place::below(&["a-directory-with-a-long-name"; 8].join("/"));
    assert!(place.socket().as_os_str().len() > 200);
    let control = place.open();
    place.is_answered().await;
    control.stop().await;
    assert!(!place.socket().exists());
}

#[tokio::test]
async fn what_cannot_be_understood_is_said_to_be_so() {
    let place = Place::new();
    let control = place.open();
    let refused = [
        ("{\"protocol\":2,\"command\":{\"whatever\":1}}\n", "form 2 of the control protocol"),
        ("{\"protocol\":1,\"command\":\"fly\"}\n", "unknown variant"),
        ("GET / HTTP/1.1\r\n\r\n", "not understood"),
        ("{\"protocol\":1}", "not understood"),
    ];
    for (request, why) in refused {
        let answer = place.say(request.as_bytes()).await;
        assert!(answer.starts_with("{\"protocol\":1,") && answer.contains(why), "{request}: {answer}");
    }
    let long = place.say(&vec![b'x'; 3 << 20]).await;
    assert!(long.contains("longer than 1048576 bytes"), "{long}");
    assert_eq!(place.say(b"").await.len(), 0);
    place.is_answered().await;
    control.stop().await;
}

#[tokio::test]
async fn who_is_silent_or_goes_away_keeps_nobody_waiting_for_long() {
    let place = Place::new();
    let silence = Duration::from_millis(200);
    let control = Control::start_patiently(place.office(), &place.data_dir, silence).unwrap();
    for said in [&b""[..], b"{\"protocol\"", b"{\"protocol\":1,\"command\":\"fly\"}\n"] {
        let mut gone = UnixStream::connect(place.socket()).await.unwrap();
        gone.write_all(said).await.unwrap();
    }
    let mut silent = Vec::new();
    for _ in 0..2 * MAX_CONNECTIONS {
        silent.push(UnixStream::connect(place.socket()).await.unwrap());
    }
    place.is_answered().await;
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    }
    control.stop().await;
}

#[test]
fn a_name_is_a_claim_and_a_uid_is_not() {
    assert_eq!(signature(Some("ann"), 1000), "ann (uid 1000)");
    assert_eq!(signature(Some(" \n"), 1000), "uid 1000");
    assert_eq!(signature(None, 0), "uid 0");
    assert_eq!(signature(Some("a\u{1b}[2J"), 7), "a\\u001b[2J (uid 7)");
}
