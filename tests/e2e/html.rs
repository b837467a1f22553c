//! The report as a page, in a real browser.

use std::fs;
use std::path::Path;

use cairn_testkit::browser::{Browser, Screen, Shot};
use cairn_testkit::sample::{Advisory, Compose, Written};
use cairn_testkit::{World, available};

use crate::diff::HOSTILE;
use crate::world;

const DESKTOP: Screen = Screen { width: 1280, height: 1400, dark: false };
const PHONE: Screen = Screen { width: 390, height: 844, dark: false };

fn release(world: &World, written: &Written) {
    world.cairn(["ingest", written.latest.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%", "-m", "a release"]).ok();
}

fn page(world: &World, file: &Path) {
    let file = file.to_str().unwrap();
    world
        .cairn(["diff", "production/9.7~1", "production/9.7", "--format", "html", "-o", file])
        .ok();
}

/// How many rows of a section are to be seen.
fn rows(section: &str) -> String {
    format!(
        "Array.from(document.querySelectorAll('#{section} tbody tr')).filter(r => r.offsetParent).length"
    )
}

/// The second cells of a section's rows, as they stand.
fn names(section: &str) -> String {
    format!(
        "Array.from(document.querySelectorAll('#{section} tbody tr')).filter(r => r.offsetParent)\
         .map(r => r.cells[1].textContent).join(' ')"
    )
}

#[test]
fn a_page_is_searched_filtered_sorted_and_printed_in_a_browser() {
    let Some(mut browser) = available(Browser::start()) else { return };
    let world = world();
    world.cairn(["init"]).ok();
    release(&world, &world.first());
    release(&world, &world.second());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("review.html");
    page(&world, &file);
    browser.look_with(DESKTOP);
    browser.open(&file);

    assert_eq!(browser.value("document.title"), "production/9.7~1 → production/9.7");
    let first = browser.value("document.querySelector('#first').innerText");
    assert!(first.as_str().unwrap().contains("3 packages have other bytes"), "{first}");
    assert_eq!(browser.value(&rows("packages")), 8);
    assert!(browser.value("document.querySelectorAll('.bars svg').length").as_u64() > Some(10));
    assert_eq!(browser.value("document.querySelectorAll('svg.columns .marked').length"), 2);

    // The search looks into every table, and into names that are folded away.
    browser.click("#search");
    browser.type_text("KERNEL-core");
    assert_eq!(browser.value(&names("packages")), "kernel");
    assert_eq!(browser.value(&names("advisories")), "RLSA-2025:19447 RLSA-2025:21112");
    assert_eq!(browser.value("document.querySelector('#installation-trees').hidden"), true);
    let found = browser.value("document.querySelector('#found').textContent");
    assert!(found.as_str().unwrap().ends_with(" rows"), "{found}");
    browser.value(
        "document.querySelector('#search').value = ''; \
                   document.querySelector('#search').dispatchEvent(new Event('input'))",
    );
    assert_eq!(browser.value(&rows("packages")), 8);

    // Words are chosen by a click, more than one at a time, and let go of by another.
    browser.click("#packages [data-word=downgraded]");
    assert_eq!(browser.value(&names("packages")), "httpd");
    browser.click("#packages [data-word=rebuilt]");
    assert_eq!(browser.value(&names("packages")), "httpd tzdata");
    browser.click("#packages [data-word=downgraded]");
    browser.click("#packages [data-word=rebuilt]");

    // A column is sorted up, down, and as it came; numbers by their value.
    let came = browser.value(&names("packages"));
    let head = "#packages th:nth-child(2) button";
    browser.click(head);
    let up = "bash firefox httpd kernel nodejs ripgrep tzdata vim-minimal";
    assert_eq!(browser.value(&names("packages")), up);
    browser.click(head);
    let down: Vec<_> = up.split(' ').rev().collect();
    assert_eq!(browser.value(&names("packages")), down.join(" "));
    browser.click(head);
    assert_eq!(browser.value(&names("packages")), came);
    browser.click("#sizes th:nth-child(5) button");
    let sorted = "Array.from(document.querySelectorAll('#sizes tbody tr'), \
                  r => Number(r.cells[4].dataset.value)).every((v, i, a) => i === 0 || a[i - 1] <= v)";
    assert_eq!(browser.value(sorted), true);

    // Light, dark, and a phone, on which nothing is wider than the screen.
    let back = "getComputedStyle(document.body).backgroundColor";
    let light = browser.value(back);
    browser.click("#theme");
    assert_ne!(browser.value(back), light);
    browser.click("#theme");
    browser.look_with(Screen { dark: true, ..DESKTOP });
    assert_ne!(browser.value(back), light);
    for (name, screen) in [
        ("desktop", DESKTOP),
        ("dark", Screen { dark: true, ..DESKTOP }),
        ("phone", PHONE),
        ("phone-dark", Screen { dark: true, ..PHONE }),
    ] {
        browser.look_with(screen);
        let wide = browser.value("document.documentElement.scrollWidth");
        assert!(wide.as_u64() <= Some(screen.width.into()), "{name}: {wide} wide");
        let picture = dir.path().join(format!("{name}.png"));
        browser.screenshot(&picture, Shot::Page);
        assert!(fs::metadata(&picture).unwrap().len() > 20_000, "{name}");
        // For whoever wants to see what the test saw; docs/audit.md shows some.
        if let Some(keep) = std::env::var_os("CAIRN_SCREENSHOTS") {
            browser.value("scrollTo(0, 0)");
            browser.screenshot(&Path::new(&keep).join(format!("{name}.png")), Shot::Screen);
        }
    }
    browser.look_with(DESKTOP);
    assert!(browser.print().starts_with(b"%PDF"));

    // One file is all there is, and the policy found nothing to forbid.
    let requests = browser.requests();
    assert_eq!(requests, [format!("file://{}", file.display())]);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn hostile_names_are_text_to_a_browser() {
    let world = world();
    world.cairn(["init"]).ok();
    let [script, image, marks] = HOSTILE;
    let base = |day: u32| {
        Compose::new("9", "Rocky", "9.7", format!("2025110{day}.0"))
            .packages_only()
            .repo("BaseOS", "x86_64")
            .package("bash", format!("5-{day}"))
    };
    let close = "</script></style></title><script src=http://192.0.2.1/x.js></script>";
    let hostile = base(1)
        .advisory(Advisory::new("RLSA-1", image).updates("bash"))
        .advisory(Advisory::new("RLSA-2", script).updates("bash"))
        .advisory(Advisory::new("RLSA-3", close).updates("bash"))
        .advisory(Advisory::new("RLSA-4", "' onmouseover='alert(1)").updates("bash"))
        // In a file's name no slash can be.
        .file(format!("compose/{}.iso", script.replace('/', "")), "x")
        .file(format!("compose/{marks}"), "x");
    release(&world, &hostile.write(&world.places().compose).unwrap());
    release(&world, &base(2).write(&world.places().compose).unwrap());
    let rolled = "</td><img src=http://192.0.2.1/y.png onerror=\"document.title='owned'\">";
    world.cairn(["rollback", "production/9.7", "-m", rolled]).ok();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("review.html");
    page(&world, &file);

    let html = fs::read_to_string(&file).unwrap();
    assert_eq!(html.matches("<script").count(), 1, "only our own script");
    assert_eq!(html.matches("</script").count(), 1);
    assert!(!html.contains("<img") && html.contains("&lt;img src=x onerror=alert(1)&gt;"));
    assert!(html.contains("&lt;/script&gt;") && !html.contains("' onmouseover"));

    let Some(mut browser) = available(Browser::start()) else { return };
    browser.look_with(DESKTOP);
    browser.open(&file);
    assert_eq!(browser.value("document.title"), "production/9.7~1 → production/9.7");
    assert_eq!(browser.value("document.images.length"), 0);
    assert_eq!(browser.value("document.scripts.length"), 1);
    let on = "Array.from(document.querySelectorAll('*')).some(e => \
              Array.from(e.attributes).some(a => a.name.startsWith('on') || a.name === 'style'))";
    assert_eq!(browser.value(on), false);
    // What a person reads is the name, letter by letter.
    let text = browser.value("document.body.textContent");
    for name in [image, script, close, rolled] {
        assert!(text.as_str().unwrap().contains(name), "{name}");
    }
    browser.click("#advisories th:nth-child(4) button");
    browser.click("#search");
    browser.type_text("onerror");
    assert_eq!(browser.value(&rows("advisories")), 1);
    assert_eq!(browser.requests(), [format!("file://{}", file.display())]);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_page_of_nothing_is_whole_too() {
    let world = world();
    world.cairn(["init"]).ok();
    release(&world, &world.first());
    let html =
        world.cairn(["diff", "staging/9.7-RC2", "production/9.7", "--format", "html"]).ok().out();
    assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
    assert!(html.contains("Nothing differs.") && html.contains("History of production/9.7"));
}
