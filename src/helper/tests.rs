use super::*;

/// One whose helper has taken nothing of what it was sent, and has no room for more.
fn full() -> Helper {
    let mut helper = Helper::new(Duty::default()).unwrap();
    // Never signalled: nobody is started or replaced here.
    helper.pid = Some(Pid::INIT);
    while helper.lost == 0 {
        helper.write_line(Priority::Info, b"hello");
    }
    helper
}

/// What the helper takes now, as kinds and texts.
fn taken(helper: &Helper) -> Vec<(u8, String)> {
    let (mut all, mut buf) = (Vec::new(), message::BUFFER);
    while let Ok(len @ 1..) = socket::receive(helper.theirs.as_fd(), &mut buf) {
        let Message { kind, text, .. } = Message::parse(&buf[..len]).unwrap();
        all.push((kind, String::from_utf8(text.to_vec()).unwrap()));
    }
    all
}

fn told_lost(messages: u32) -> (u8, String) {
    (kind::LINE, format!("{messages}{LOST}"))
}

fn later() -> Moment {
    clock::now().after(HUNG_AFTER * 2)
}

#[test]
fn a_helper_that_takes_messages_again_does_not_hang_though_nothing_else_is_said() {
    let mut helper = full();
    assert!(helper.needs_reviving(later()));
    taken(&helper);
    assert!(!helper.needs_reviving(later()));
    assert_eq!(taken(&helper), [told_lost(1)]);
}

#[test]
fn the_last_word_waits_for_room() {
    let mut helper = full();
    let theirs = helper.theirs.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut buf = message::BUFFER;
        while socket::receive(theirs.as_fd(), &mut buf).is_ok() {}
    });
    helper.wait_for_room(Duration::from_secs(60));
    helper.write_line(Priority::Notice, b"stopped");
    reader.join().unwrap();
    assert_eq!(helper.lost, 0);
}

#[test]
fn a_question_that_found_no_room_is_owed_no_answer_once_there_is_some() {
    let mut helper = full();
    let id = Identity { pid: Pid::INIT, start: 1 };
    assert!(helper.command_line(id, Duration::from_millis(1)).is_none());
    // Until then it may well be one that hangs.
    assert!(helper.may_be_replaced());
    taken(&helper);
    assert!(!helper.needs_reviving(later()));
    assert!(!helper.may_be_replaced());
}

#[test]
fn a_question_that_was_asked_is_owed_its_answer_whatever_room_there_is() {
    let mut helper = full();
    taken(&helper);
    let id = Identity { pid: Pid::INIT, start: 1 };
    assert!(helper.command_line(id, Duration::from_millis(1)).is_none());
    while helper.full_since.is_none() {
        helper.write_line(Priority::Info, b"hello");
    }
    taken(&helper);
    assert!(helper.needs_reviving(later()));
}

#[test]
fn one_that_hangs_is_replaced_once_more_each_time_that_nobody_was_found() {
    let mut helper = full();
    (helper.spares, helper.silent_since) = (0, Some(clock::now()));
    assert!(!helper.may_be_replaced());
    helper.ask_again();
    assert!(helper.may_be_replaced());
}

#[test]
fn that_the_log_is_to_be_opened_anew_is_said_again_where_it_found_no_room() {
    let mut helper = full();
    helper.reopen_log();
    taken(&helper);
    assert!(!helper.needs_reviving(later()));
    assert_eq!(taken(&helper), [told_lost(2), (kind::REOPEN, String::new())]);
}
