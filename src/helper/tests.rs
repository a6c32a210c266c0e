use super::*;

/// One whose helper has taken nothing of what it was sent, and has no room for more.
fn full() -> Helper {
    let mut helper = Helper::new(Setup::default()).unwrap();
    // Never signalled: none is started or replaced here.
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
    assert!(helper.needs_restart(later()));
    taken(&helper);
    assert!(!helper.needs_restart(later()));
    assert_eq!(taken(&helper), [told_lost(1)]);
}

#[test]
fn the_last_line_waits_for_room() {
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
    assert!(helper.may_be_replaced(Duration::ZERO));
    taken(&helper);
    assert!(!helper.needs_restart(later()));
    assert!(!helper.may_be_replaced(Duration::ZERO));
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
    assert!(helper.needs_restart(later()));
}

#[test]
fn one_that_hangs_is_replaced_once_more_each_time_that_no_candidate_was_found() {
    let mut helper = full();
    (helper.spares, helper.asked.command) = (0, Some((process(7), clock::now())));
    assert!(!helper.may_be_replaced(Duration::ZERO));
    helper.ask_again();
    assert!(helper.may_be_replaced(Duration::ZERO));
}

#[test]
fn that_the_log_is_to_be_opened_anew_is_said_again_where_it_found_no_room() {
    let mut helper = full();
    helper.reopen_log();
    taken(&helper);
    assert!(!helper.needs_restart(later()));
    assert_eq!(taken(&helper), [told_lost(1), (kind::REOPEN, String::new())]);
}

fn process(number: i64) -> Identity {
    Identity { pid: Pid::new(number).unwrap(), start: 1 }
}

#[test]
fn a_process_is_passed_over_for_its_time_and_the_one_whose_time_is_over_first_gives_way() {
    let mut helper = Helper::new(Setup::default()).unwrap();
    let now = clock::now();
    helper.pass_over(process(7), now);
    assert!(!helper.is_passed_over(process(7)) && !helper.is_behind());
    helper.pass_over(process(7), now.after(HANGING_FOR));
    assert!(helper.is_passed_over(process(7)) && !helper.is_behind());
    for number in 100..=100 + PASSED_OVER as i64 {
        helper.pass_over(process(number), now.after(HANGING_FOR * 2));
    }
    assert!(!helper.is_passed_over(process(7)));
    assert!(helper.is_passed_over(process(100 + PASSED_OVER as i64)));
    helper.ask_again();
    assert!(!helper.is_passed_over(process(100)));
}

#[test]
fn a_helper_that_owes_an_answer_is_asked_nothing_else_and_whom_it_was_late_with_is_passed_over() {
    let mut helper = Helper::new(Setup::default()).unwrap();
    assert!(helper.command_line(process(7), Duration::from_millis(1)).is_none());
    assert!(helper.is_passed_over(process(7)) && helper.is_behind());
    assert!(helper.command_line(process(8), Duration::from_millis(1)).is_none());
    assert_eq!(taken(&helper), [(kind::READ_COMMAND, String::new())]);
    let number = helper.asked.command.unwrap().1 .0;
    let answer = Message { kind: kind::COMMAND, id: Identity::NONE, number, text: b"late" };
    answer.send(helper.theirs.as_fd()).unwrap();
    helper.drain();
    assert!(!helper.may_be_replaced(Duration::ZERO) && helper.is_behind());
}

#[test]
fn what_tmpfs_hold_is_asked_again_only_once_it_was_taken() {
    let mut helper = Helper::new(Setup::default()).unwrap();
    assert!(helper.ask_for_tmpfs() && !helper.ask_for_tmpfs());
    let answer = |helper: &Helper, text: &[u8]| {
        let number = helper.asked.tmpfs.unwrap().0;
        let message = Message { kind: kind::TMPFS, id: Identity::NONE, number, text };
        message.send(helper.theirs.as_fd()).unwrap();
    };
    assert_eq!(helper.take_tmpfs(), None);
    answer(&helper, &7u64.to_ne_bytes());
    assert_eq!((helper.take_tmpfs(), helper.take_tmpfs()), (Some(KiB(7)), None));
    // One that could not be told is asked again.
    assert!(helper.ask_for_tmpfs());
    answer(&helper, b"");
    assert_eq!(helper.take_tmpfs(), None);
    assert!(helper.ask_for_tmpfs());
}

#[test]
fn the_writer_of_a_tmpfs_is_told_as_it_was_answered() {
    let mut helper = Helper::new(Setup::default()).unwrap();
    let answer = |helper: &Helper, id: Identity, text: &[u8]| {
        let number = helper.asked.writer.unwrap().0;
        Message { kind: kind::WRITER, id, number, text }.send(helper.theirs.as_fd()).unwrap();
        Moment(number)
    };
    let text = [7u64.to_ne_bytes(), 9u64.to_ne_bytes()].concat();
    let growth = |most| Some(Growth { over: Duration::from_nanos(7), most });
    for (id, text, told) in [
        (process(42), &text[..], growth(Some((process(42), KiB(9))))),
        (Identity::NONE, &text[..], growth(None)),
        (Identity::NONE, b"", None),
    ] {
        helper.ask_for_writer(KiB(5));
        let asked = answer(&helper, id, text);
        assert_eq!(helper.take_growth(), Some((asked, told)));
        assert_eq!(helper.take_growth(), None);
    }
    // One that is owed is not asked for again; one for which a helper had to be replaced never is.
    helper.ask_for_writer(KiB(5));
    let asked = helper.asked.writer;
    helper.ask_for_writer(KiB(5));
    assert_eq!(helper.asked.writer, asked);
    (helper.asked.writer, helper.asked.tmpfs_hangs) = (None, true);
    helper.ask_for_writer(KiB(5));
    assert_eq!(helper.asked.writer, None);
}
