//! What a person sees on a terminal: progress, tables that fit, colour, the page of `status`.

use std::fs;
use std::path::Path;

use cairn_testkit::terminal::{Screen, Seen, Terminal};
use cairn_testkit::{Run, Signal, World};

use crate::crashes::{publish, published, small_update};
use crate::world;

/// Cairn in a terminal of so many columns, where progress is shown at once.
fn terminal(world: &World, columns: u16, env: &[(&str, &str)], args: &[&str]) -> Terminal {
    let mut command = world.command();
    command.env_remove("NO_COLOR").env("TERM", "xterm").env_remove("COLUMNS");
    command.env_remove("CLICOLOR_FORCE").env("CAIRN_PROGRESS_AT_ONCE", "1");
    command.envs(env.iter().copied()).args(args);
    Terminal::start(command, columns, 60)
}

fn seen(world: &World, columns: u16, env: &[(&str, &str)], args: &[&str]) -> Seen {
    terminal(world, columns, env, args).wait()
}

/// The lines that were drawn with a return before and a blank rest after.
fn drawn(seen: &Seen) -> Vec<String> {
    let text = String::from_utf8_lossy(&seen.bytes).into_owned();
    let lines = text.split('\r').filter_map(|line| line.strip_suffix("\x1b[K"));
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Everything that takes long on a large release, with what it says meanwhile.
fn stages(world: &World, mirror: &Path) -> Vec<(Vec<String>, &'static str, i32)> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mirror = mirror.to_str().unwrap();
    let latest = world.latest();
    let latest = latest.to_str().unwrap();
    vec![
        (words(&format!("ingest --reread {latest}")), "Reading", 0),
        (words(&format!("ingest {latest}")), "Scanning", 0),
        (words("stage 9 Rocky -n"), "", 0),
        (words("stage 9 Rocky --delete"), "Linking", 0),
        (words("diff production/9.7 staging/9.7-RC2 --by all"), "Comparing", 0),
        (words("check staging/9.7-RC2 repodata"), "Reading repodata", 0),
        (words("check staging/9.7-RC2 closure"), "Resolving dependencies", 0),
        (words("check staging/9.7-RC2 slow"), "Asking slow", 0),
        (words("promote 9 --delete --allow-deletes 100%"), "Writing the lists", 0),
        (words("rollback production/9.7 -n"), "Comparing", 0),
        (words("rollback production/9.7"), "Writing the lists", 0),
        (words("vault 9.7"), "Linking", 0),
        (words("show 6"), "Comparing", 0),
        (words("find bash"), "Reading repodata", 0),
        (words("du"), "Adding up", 0),
        (words("fsck"), "Checking objects", 0),
        (words("fsck --full"), "Checking objects", 0),
        (words("gc"), "Marking what is needed", 0),
        (words("audit verify"), "Walking the log", 0),
        (words(&format!("audit export {mirror}.audit --unsigned")), "Reading the log", 0),
        (words(&format!("verify-mirror {mirror} production/9.7")), "Reading contents", 0),
        (
            words(&format!("repodata build {mirror}/BaseOS/x86_64/os --reread")),
            "Reading packages",
            0,
        ),
    ]
}

#[test]
fn what_takes_long_is_told_on_a_terminal_and_gone_at_the_end() {
    let world = world();
    let config = fs::read_to_string(world.config()).unwrap();
    world.set_config(&(config + "\n[gate.slow]\ncommand = [\"true\"]\n"));
    published(&world);
    small_update().write(&world.places().compose).unwrap();
    let copy = world.places().compose.join("mirror");
    let live = world.production("mirror/pub/rocky/9.7");
    // What a link leads to, where the view is one.
    let live = live.canonicalize().unwrap();
    Run::of(std::process::Command::new("cp").arg("-a").arg(&live).arg(&copy)).ok();
    let mut wrong = Vec::new();
    for (args, stage, code) in stages(&world, &copy) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let seen = seen(&world, 100, &[], &args);
        let shown = String::from_utf8_lossy(&seen.bytes).into_owned();
        if seen.status.code() != Some(code) {
            wrong.push(format!("{args:?}: {:?} {shown}", seen.status));
        }
        let drawn = drawn(&seen);
        if !drawn.iter().any(|line| line.contains(stage)) {
            wrong.push(format!("{args:?}: {stage} in {drawn:?}"));
        }
        let screen = Screen::of(&seen.bytes, 100);
        for line in &drawn {
            assert!(line.chars().count() < 100, "{args:?}: {line:?}");
            let stage = line.split("  ").next().unwrap();
            let left = screen.lines.iter().any(|left| left.starts_with(&format!("{stage}  ")));
            if left {
                wrong.push(format!("{args:?}: {line:?} is left in {:#?}", screen.lines));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_of_it_is_seen_where_it_is_not_wanted() {
    let world = world();
    published(&world);
    for (env, args) in [
        (&[("NO_COLOR", "1")][..], &["fsck", "--full"][..]),
        (&[("TERM", "dumb")], &["fsck", "--full"]),
        (&[], &["fsck", "--full", "--quiet"]),
        (&[], &["fsck", "--full", "--json"]),
        (&[], &["fsck", "--full", "--progress", "never"]),
    ] {
        let seen = seen(&world, 100, env, args);
        assert!(seen.status.success());
        let text = String::from_utf8_lossy(&seen.bytes).into_owned();
        assert!(
            !text.contains("\x1b[K") && !text.contains("Checking objects"),
            "{args:?}: {text:?}"
        );
    }
    // Neither in a pipe.
    let mut command = world.command();
    command.env_remove("NO_COLOR").env("TERM", "xterm").env("CAIRN_PROGRESS_AT_ONCE", "1");
    let run = Run::of(command.args(["fsck", "--full"])).ok();
    assert_eq!(run.err(), "");
    assert!(!run.out().contains('\x1b'), "{}", run.report());
}

#[test]
fn a_narrow_terminal_gets_a_short_line_that_does_not_wrap() {
    let world = world();
    published(&world);
    for (columns, env) in [(40, &[][..]), (20, &[]), (8, &[]), (200, &[("COLUMNS", "40")])] {
        let seen = seen(&world, columns, env, &["fsck", "--full"]);
        let drawn = drawn(&seen);
        let width = usize::from(columns.min(if env.is_empty() { columns } else { 40 }));
        assert!(!drawn.is_empty());
        for line in &drawn {
            assert!(line.chars().count() < width, "{width}: {line:?}");
        }
    }
    // One that is made narrower while something goes on: a gate that waits for us.
    let go = world.places().compose.join("go");
    let wait = format!("while [ ! -e {} ]; do sleep 0.05; done", go.display());
    let config = fs::read_to_string(world.config()).unwrap();
    let gate = format!("\n[gate.patience]\ncommand = [\"sh\", \"-c\", {wait:?}]\n");
    world.set_config(&(config + &gate));
    let mut terminal = terminal(&world, 100, &[], &["check", "production/9.7", "patience"]);
    let stage = "Asking patience  ";
    terminal.until("gate", |seen| seen.contains(stage).then_some(()));
    terminal.resize(14, 60);
    let from = terminal.so_far().len();
    terminal.until("short line", |seen| seen.get(from..)?.contains("Asking patie…").then_some(()));
    fs::write(&go, "").unwrap();
    assert!(terminal.wait().status.success());
}

#[test]
fn whoever_waits_for_a_lock_sees_who_holds_it_and_so_does_status() {
    let world = world();
    published(&world);
    let go = world.places().compose.join("go");
    let wait = format!("while [ ! -e {} ]; do sleep 0.05; done", go.display());
    let config = fs::read_to_string(world.config()).unwrap();
    let gate = format!("\n[gate.patience]\ncommand = [\"sh\", \"-c\", {wait:?}]\n");
    let config = config.replace("[\"repodata\", ", "[\"repodata\", \"patience\", ");
    world.set_config(&(config + &gate));
    small_update().write(&world.places().compose).unwrap();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let promote = ["promote", "9", "--delete", "--allow-deletes", "100%"];
    let mut holder = terminal(&world, 100, &[], &promote);
    holder.until("gate", |seen| seen.contains("Asking patience").then_some(()));
    let rollback = ["--lock-wait", "10m", "rollback", "production/9.7"];
    let mut waiting = terminal(&world, 200, &[], &rollback);
    waiting.until("wait", |seen| {
        seen.contains("Waiting for production/9.7, held since").then_some(())
    });
    let status = world.json(["status"]);
    let locks = status["locks"].as_array().unwrap();
    let held = locks.iter().find(|lock| lock["what"] == "production/9.7");
    let held = held.unwrap_or_else(|| panic!("{locks:#?}"));
    assert!(held["command"].as_str().unwrap().contains("promote"), "{held:#}");
    assert!(held["since"].as_str().unwrap().ends_with('Z'));
    let text = world.cairn(["status"]).ok().out();
    assert!(text.contains("production/9.7 is locked for "), "{text}");
    fs::write(&go, "").unwrap();
    assert!(holder.wait().status.success());
    // What waited goes on with what is there now.
    waiting.wait();
    assert_eq!(world.json(["status"])["locks"], serde_json::json!([]));
}

#[test]
fn tables_fit_the_terminal_and_are_whole_in_a_pipe() {
    let world = world();
    published(&world);
    small_update().write(&world.places().compose).unwrap();
    publish(&world);
    let name = "hold/a-name-as-long-as-somebody-who-is-in-a-hurry-would-never-type-it-at-all";
    world.cairn(["hold", "production/9.7", "--as", &name[5..], "-m", "a test"]).ok();
    let diff = ["diff", "production/9.7~1", "production/9.7", "--by", "packages"];
    let blame = ["blame", "production/9.7", "BaseOS/x86_64/os"];
    for args in [&["status"][..], &["du"], &diff, &blame, &["hold", "list"]] {
        let piped = world.cairn(args).ok().out();
        assert!(!piped.contains('…'), "{piped}");
        for columns in [40_u16, 60, 80, 200] {
            let seen = seen(&world, columns, &[("CAIRN_CONFIG", "")], args);
            let screen = Screen::of(&seen.bytes, columns.into());
            // Only a line that is no row of a table may be longer.
            let rows = screen.wrapped.iter().filter(|line| line.contains("  "));
            assert_eq!(rows.count(), 0, "{args:?} in {columns}: {:#?}", screen.wrapped);
        }
    }
    let piped = world.cairn(["status"]).ok().out();
    assert!(piped.contains(name), "{piped}");
    let wide = Screen::of(&seen(&world, 300, &[], &["status"]).bytes, 300);
    assert!(wide.lines.iter().any(|line| line.contains(name)), "{wide:#?}");
    let narrow = Screen::of(&seen(&world, 80, &[], &["status"]).bytes, 80);
    assert!(narrow.lines.iter().any(|line| line.trim().starts_with("hold/") && line.contains('…')));
}

#[test]
fn colour_is_for_terminals_and_for_who_asks_for_it() {
    let world = world();
    published(&world);
    let coloured = |env: &[(&str, &str)]| {
        let seen = seen(&world, 100, env, &["status"]);
        let text = String::from_utf8_lossy(&seen.bytes).into_owned();
        // The line of progress has no colour, and erases itself.
        text.replace("\x1b[K", "").contains('\x1b')
    };
    assert!(coloured(&[]));
    assert!(!coloured(&[("NO_COLOR", "1")]));
    assert!(!coloured(&[("TERM", "dumb")]));
    let piped = |env: &[(&str, &str)]| {
        let mut command = world.command();
        command.env_remove("NO_COLOR").envs(env.iter().copied());
        Run::of(command.arg("status")).ok().out().contains('\x1b')
    };
    assert!(!piped(&[]));
    assert!(piped(&[("CLICOLOR_FORCE", "1")]));
    assert!(!piped(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    // An error on a stderr that is a file has none, whatever stdout is.
    let file = world.places().compose.join("errors");
    let mut shell = std::process::Command::new("sh");
    let line = format!("exec \"$0\" \"$@\" 2>{}", file.display());
    let command = world.command();
    shell.args(["-c", &line]).arg(command.get_program()).args(command.get_args());
    shell.args(["show", "nothing/at-all"]).env_remove("NO_COLOR").env("TERM", "xterm");
    Terminal::start(shell, 100, 60).wait();
    let errors = fs::read_to_string(&file).unwrap();
    assert!(errors.starts_with("error: "), "{errors:?}");
}

#[test]
fn the_page_of_status_is_drawn_in_its_place_until_it_is_ended() {
    let world = world();
    published(&world);
    let mut terminal = terminal(&world, 120, &[], &["status", "--watch", "1"]);
    let frames = |seen: &str, count: usize| seen.matches("Ctrl-C ends").count() >= count;
    terminal.until("third page", |seen| frames(seen, 3).then_some(()));
    world.cairn(["hold", "production/9.7", "--as", "seen", "-m", "a test"]).ok();
    terminal.until("change", |seen| seen.contains("hold/seen").then_some(()));
    // The terminal becomes narrow; the page follows.
    terminal.resize(60, 60);
    let pages = String::from_utf8_lossy(&terminal.so_far()).matches("Ctrl-C ends").count();
    terminal.until("page after that", |seen| frames(seen, pages + 2).then_some(()));
    terminal.signal(Signal::INT);
    let seen = terminal.wait();
    assert_eq!(seen.status.code(), Some(0), "Ctrl-C is how it ends");
    let text = String::from_utf8_lossy(&seen.bytes).into_owned();
    let last = text.rfind("\x1b[2J\x1b[H").expect("a terminal of another size is drawn anew");
    let screen = Screen::of(&text.as_bytes()[last..], 60);
    assert_eq!(screen.wrapped, [""; 0], "{screen:#?}");
    let heads = screen.lines.iter().filter(|line| line.contains("Ctrl-C ends")).count();
    assert_eq!(heads, 1, "one page stands there: {screen:#?}");
    let all = screen.lines.join("\n");
    assert!(all.contains("Store ") && all.contains("…seen") && all.contains("free"), "{all}");
    // SIGTERM is a signal like any other.
    let mut terminal = self::terminal(&world, 120, &[], &["status", "--watch"]);
    terminal.until("page", |seen| frames(seen, 1).then_some(()));
    terminal.signal(Signal::TERM);
    assert_eq!(terminal.wait().status.code(), Some(143));
    // A low terminal gets what fits.
    let mut command = world.command();
    command.env("TERM", "xterm").args(["status", "--watch", "1"]);
    let mut low = Terminal::start(command, 100, 5);
    low.until("two pages", |seen| frames(seen, 2).then_some(()));
    low.signal(Signal::INT);
    let seen = low.wait();
    let screen = Screen::of(&seen.bytes, 100);
    assert_eq!(screen.lines.len(), 4, "{screen:#?}");
    assert!(screen.lines[3].contains("more lines"), "{screen:#?}");
}

#[test]
fn the_page_of_status_needs_a_terminal() {
    let world = world();
    published(&world);
    for args in [&["status", "--watch"][..], &["--json", "status", "--watch"]] {
        let run = world.cairn(args).exits(2);
        assert!(run.err().contains("--watch"), "{}", run.report());
        assert_eq!(run.out(), "");
    }
    for args in [&["status", "--watch", "0"][..], &["status", "--watch", "--metrics", "x"]] {
        world.cairn(args).exits(2);
    }
}
