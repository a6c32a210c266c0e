use super::*;

/// What `dbus-send --system --type=signal /org/freedesktop/LowMemoryMonitor
/// org.freedesktop.LowMemoryMonitor.LowMemoryWarning byte:50` of dbus 1.14.10 sends.
const SIGNAL: &str = "6c04010101000000020000008700000001016f00210000002f6f72672f667265656465736b746f\
    702f4c6f774d656d6f72794d6f6e69746f720000000000000002017300200000006f72672e667265656465736b746f702e\
    4c6f774d656d6f72794d6f6e69746f72000000000000000003017300100000004c6f774d656d6f72795761726e696e6700\
    00000000000000080167000179000032";

#[test]
fn the_signal_is_what_dbus_send_sends() {
    let mut body = Values::default();
    body.byte(50);
    let whole = wire::message(2, &LOW_MEMORY_WARNING, &body);
    let hex: String = whole.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, SIGNAL);
}

#[test]
fn what_a_library_asks_for_is_answered_and_all_else_is_an_error() {
    for (interface, name, is_error) in [
        ("org.freedesktop.DBus.Peer", "Ping", false),
        ("org.freedesktop.DBus.Properties", "GetAll", false),
        ("org.freedesktop.DBus.Introspectable", "Introspect", false),
        ("org.freedesktop.DBus.Properties", "Get", true),
        ("org.freedesktop.DBus.Peer", "GetMachineId", true),
        ("", "Ping", true),
        (NAME, "LowMemoryWarning", true),
    ] {
        let (interface, name) = (interface.as_bytes(), name.as_bytes());
        let call = Call { serial: 9, sender: b":1.1", interface, name };
        let whole = answer(3, &call);
        let (answer, len) = wire::parse(whole.as_bytes()).unwrap().unwrap();
        assert_eq!(answer, Some(wire::Answer { to: 9, is_error }), "{name:?}");
        assert_eq!(len, whole.as_bytes().len());
    }
}

/// What is said of these, one after the other.
fn said(all: &[News]) -> Vec<News> {
    let (levels, _theirs) = socket::pair().unwrap();
    let mut told = Vec::new();
    let tell = &mut |news| told.push(news);
    let levels = std::os::fd::AsFd::as_fd(&levels);
    let mut monitor = Monitor { levels, latest: None, tell, said: None };
    all.iter().for_each(|&news| monitor.say(news));
    told
}

#[test]
fn trouble_is_said_when_it_begins() {
    let [silent, none] = [Fault::Silent, Fault::NoBus].map(News::Failed);
    assert_eq!(said(&[silent, none, silent]), [silent]);
    assert_eq!(said(&[News::Taken, News::Taken]), [News::Taken]);
    let all = [News::Owned, none, News::Owned, News::Taken];
    assert_eq!(said(&all), all);
}

#[test]
fn of_several_levels_the_last_is_told_and_the_end_is_seen() {
    let (ours, theirs) = socket::pair().unwrap();
    let levels = std::os::fd::AsFd::as_fd(&theirs);
    let mut monitor = Monitor { levels, latest: None, tell: &mut |_| {}, said: None };
    assert!(monitor.take_levels() && monitor.latest.is_none());
    for level in [50, 100] {
        fd::write(std::os::fd::AsFd::as_fd(&ours), &[level]).unwrap();
    }
    assert!(monitor.take_levels());
    assert_eq!(monitor.latest.unwrap().0, 100);
    drop(ours);
    assert!(!monitor.take_levels());
    assert!(!monitor.rest(Duration::from_secs(60)));
}
