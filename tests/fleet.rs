//! Alerts and dashboard for many machines: accepted by Prometheus' own tools, and asked of a real
//! Prometheus that reads, through node_exporter, the numbers of a real guard that ends real hogs.
//!
//! Skipped where Prometheus is not installed.

mod common;

use common::small::{one_at_a_time, SmallMachine};
use common::*;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/init/prometheus/alerts.yml");
/// Their unit tests.
const ALERTS_TEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fleet/alerts.yml");
const DASHBOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/init/grafana/oom_guard.json");

/// Found, or named as the reason for skipping.
fn tool(names: &[&str]) -> Option<PathBuf> {
    let found = names.iter().find_map(|name| program(name));
    if found.is_none() {
        skip(&format!("{} is not installed", names[0]));
    }
    found
}

fn printed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("a tool");
    let said = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{command:?}: {said}{text}");
    text
}

// ---- what the files hold ----

struct Rule {
    /// `alert` or `record`, and its name.
    head: (String, String),
    expr: String,
}

fn rules() -> Vec<Rule> {
    let text = fs::read_to_string(ALERTS).expect("the alerts");
    let mut lines = text.lines().peekable();
    let (mut rules, mut head) = (Vec::new(), None);
    while let Some(line) = lines.next() {
        if let Some((kind, name)) = line.strip_prefix("      - ").and_then(|it| it.split_once(": "))
        {
            head = Some((kind.to_string(), name.to_string()));
        }
        if line == "        expr: |" {
            let mut expr = String::new();
            while let Some(more) = lines.next_if(|line| line.starts_with("          ")) {
                expr += more.trim_start();
                expr.push('\n');
            }
            rules.push(Rule { head: head.take().expect("a rule has a name"), expr });
        }
    }
    assert!(rules.len() > 5, "only {} rules were found: the test has gone blind", rules.len());
    rules
}

fn alerts() -> impl Iterator<Item = Rule> {
    rules().into_iter().filter(|rule| rule.head.0 == "alert")
}

/// As they stand in the dashboard, with variables as Grafana would fill them in.
fn escaped_queries() -> Vec<String> {
    let text = fs::read_to_string(DASHBOARD).expect("the dashboard");
    let found = text.lines().filter_map(|line| line.trim_start().strip_prefix("\"expr\": \""));
    let filled = |query: &str| {
        let query = query.trim_end_matches(',').strip_suffix('"').expect("one line");
        let filled = query.replace("$instance", ".+").replace("$__rate_interval", "1m");
        let filled = filled.replace("$__range", "10m");
        assert!(!filled.contains('$'), "an unknown variable: {query}");
        filled
    };
    let queries: Vec<_> = found.map(filled).collect();
    assert!(queries.len() > 15, "only {} were found: the test has gone blind", queries.len());
    queries
}

/// Of all that an alert can name, what is of the guard or of collectors that are on by default.
fn metrics(expr: &str) -> Vec<&str> {
    let words = expr.split(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c)));
    let is_metric = |word: &&str| {
        let begins = ["oom_guard_", "node_time", "node_textfile_"];
        begins.iter().any(|begin| word.starts_with(begin))
    };
    words.filter(is_metric).collect()
}

#[test]
fn promtool_accepts_the_alerts_and_they_fire_when_they_should() {
    let Some(promtool) = tool(&["promtool"]) else { return };
    printed(Command::new(&promtool).args(["check", "rules", ALERTS]));
    printed(Command::new(&promtool).args(["test", "rules", ALERTS_TEST]));
}

#[test]
fn each_alert_is_seen_firing_and_quiet_in_their_tests() {
    let tests = fs::read_to_string(ALERTS_TEST).expect("the tests of the alerts");
    for Rule { head: (_, name), .. } in alerts() {
        let fires = format!("      - alertname: {name}\n");
        assert!(tests.contains(&fires), "{name} is never seen firing");
        let is_quiet = format!("      - {{ alertname: {name}, ");
        assert!(tests.contains(&is_quiet), "{name} is never seen quiet");
    }
}

#[test]
fn promtool_accepts_each_query_of_the_dashboard() {
    let Some(promtool) = tool(&["promtool"]) else { return };
    let mut file = tempfile::NamedTempFile::new().expect("a file for rules");
    writeln!(file, "groups:\n- name: dashboard\n  rules:").expect("write");
    for (place, query) in escaped_queries().iter().enumerate() {
        // What JSON escapes, YAML does alike.
        writeln!(file, "  - record: query_{place}\n    expr: \"{query}\"").expect("write");
    }
    printed(Command::new(promtool).args(["check", "rules"]).arg(file.path()));
}

/// What Grafana takes for granted and promtool does not see; prints how many queries there are.
const CHECK_DASHBOARD: &str = "
import json, sys
board = json.load(open(sys.argv[1]))
assert board['id'] is None and 'uid' not in board and board['schemaVersion'] >= 36
variables = {it['name']: it for it in board['templating']['list']}
assert variables['datasource']['type'] == 'datasource', variables
assert variables['instance']['multi'] and variables['instance']['includeAll'], variables
source = {'type': 'prometheus', 'uid': '${datasource}'}
cells, queries = set(), 0
assert len({panel['id'] for panel in board['panels']}) == len(board['panels'])
for panel in board['panels']:
    assert panel['title'] and panel['description'] and panel['datasource'] == source, panel
    place = panel['gridPos']
    for x in range(place['x'], place['x'] + place['w']):
        for y in range(place['y'], place['y'] + place['h']):
            assert x < 24 and (x, y) not in cells, panel['title']
            cells.add((x, y))
    names = {target['refId'] for target in panel['targets']}
    assert len(names) == len(panel['targets']) > 0, panel['title']
    assert all(target['datasource'] == source for target in panel['targets']), panel['title']
    for override in panel['fieldConfig']['overrides']:
        matcher = override['matcher']
        renamed = [it['options'].get('renameByName', {}) for it in panel.get('transformations', [])]
        known = names if matcher['id'] == 'byFrameRefID' else renamed[-1].values()
        assert matcher['options'] in known, matcher
    queries += len(names)
print(queries)
";

#[test]
fn the_dashboard_is_whole_and_belongs_to_no_data_source() {
    let Some(python) = tool(&["python3"]) else { return };
    let count = printed(Command::new(python).args(["-c", CHECK_DASHBOARD, DASHBOARD]));
    assert_eq!(count.trim_end(), escaped_queries().len().to_string());
}

// ---- a real Prometheus ----

/// A server of the test, which ends with it.
struct Server(Child);

impl Server {
    fn start(sandbox: &Sandbox, name: &str, program: &Path, options: &[String]) -> Server {
        let log = fs::File::create(sandbox.path(name)).expect("a log");
        let mut command = Command::new(program);
        command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Server(command.spawn().expect(name))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two addresses that were free a moment ago.
fn addresses() -> [String; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("its address").to_string())
}

struct Prometheus {
    promtool: PathBuf,
    url: String,
    _servers: [Server; 2],
}

impl Prometheus {
    /// With a node_exporter that reads `numbers`. `None` if something is not installed.
    fn start(sandbox: &Sandbox, numbers: &Path) -> Option<Prometheus> {
        let promtool = tool(&["promtool"])?;
        let prometheus = tool(&["prometheus"])?;
        let exporter = tool(&["prometheus-node-exporter", "node_exporter"])?;
        let [here, there] = addresses();
        let config = sandbox.path("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [{ALERTS:?}]\n\
             scrape_configs:\n\
             - {{ job_name: node, static_configs: [{{ targets: [{there:?}] }}] }}\n"
        );
        fs::write(&config, text).expect("settings of Prometheus");
        let exporter_options = [
            "--collector.disable-defaults".to_string(),
            "--collector.textfile".into(),
            "--collector.time".into(),
            format!("--collector.textfile.directory={}", numbers.display()),
            format!("--web.listen-address={there}"),
        ];
        let options = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", sandbox.path("series").display()),
            format!("--web.listen-address={here}"),
        ];
        let servers = [
            Server::start(sandbox, "exporter.log", &exporter, &exporter_options),
            Server::start(sandbox, "prometheus.log", &prometheus, &options),
        ];
        let started = Prometheus { promtool, url: format!("http://{here}"), _servers: servers };
        let answers = || started.command("up").output().expect("promtool").status.success();
        let is_ready = wait_until(PATIENCE, || answers().then_some(()));
        let log = || fs::read_to_string(sandbox.path("prometheus.log")).unwrap_or_default();
        assert!(is_ready.is_some(), "Prometheus does not answer: {}", log());
        Some(started)
    }

    fn command(&self, expr: &str) -> Command {
        let mut command = Command::new(&self.promtool);
        command.args(["query", "instant", &self.url, expr]).stdin(Stdio::null());
        command
    }

    /// The result, a line a series.
    fn query(&self, expr: &str) -> String {
        // Where there is none, promtool prints an empty line.
        printed(&mut self.command(expr)).trim_end().to_string()
    }

    fn wait_for(&self, expr: &str) {
        wait_for(expr, || {
            // A series gets new values once a second.
            thread::sleep(Duration::from_millis(200));
            !self.query(expr).is_empty()
        });
    }

    fn wait_for_alert(&self, name: &str, state: &str) {
        self.wait_for(&format!("ALERTS{{alertname=\"{name}\",alertstate=\"{state}\"}}"));
    }
}

#[test]
fn a_real_prometheus_answers_each_query_and_tells_of_a_real_kill() {
    one_at_a_time(|sandbox| {
        let Some(mut small) = SmallMachine::new(sandbox) else { return };
        let numbers = sandbox.path("numbers");
        fs::create_dir(&numbers).expect("a directory");
        let Some(prometheus) = Prometheus::start(sandbox, &numbers) else { return };
        let file = numbers.join("oom_guard.prom");
        let stats = ["--stats-file", file.to_str().expect("UTF-8")];
        let spared = ["--ignore", "^(prom|node_exporter)"];
        small.leave(40);
        if small.available_percent() < 30 {
            return skip("Prometheus leaves no room for a hog");
        }
        let guard = sandbox.guard(&[&stats[..], &spared].concat());
        // A count that grows is seen only by two scrapes.
        prometheus.wait_for("oom_guard_info");
        let size = format!("{}M", small.share_mib(60));
        let hog = sandbox.hog_command(&["--size", &size, "--rate", &small.rate()]);
        let mut hog = Hog::start_unready(hog);
        // By whichever signal: what else runs here takes of the same memory.
        assert!(hog.wait_for_end().signal().is_some());
        guard.wait_for(&format!("process {} exited after ", hog.pid()));
        prometheus.wait_for_alert("OomGuardKilled", "firing");

        prometheus.wait_for("increase(oom_guard_kills_total{reason=\"memory\"}[10m]) > 0");
        prometheus.wait_for("changes(oom_guard_looks_total[5m]) > 0");
        // The numbers of the kill are those of low memory; the next ones come 15 s later.
        let level = "max without (signal) (oom_guard_memory_level_bytes)";
        prometheus.wait_for(&format!("oom_guard_memory_available_bytes > 1.5 * {level}"));
        let has_stalls = Path::new("/proc/pressure/memory").exists();
        for query in escaped_queries() {
            let query = query.replace("\\\"", "\"").replace("\\\\", "\\");
            let result = prometheus.query(&query);
            let is_known = has_stalls || !query.contains("oom_guard_memory_stall_ratio");
            assert!(!result.is_empty() || !is_known, "the dashboard sees nothing by {query}");
        }
        for Rule { head: (kind, name), expr } in rules() {
            let is_expected = kind == "record" || name == "OomGuardKilled";
            let result = prometheus.query(&expr);
            assert_eq!(!result.is_empty(), is_expected, "{name}: {result}");
            for metric in metrics(&expr) {
                let series = prometheus.query(metric);
                assert!(!series.is_empty() || metric.contains(':'), "{name} names no {metric}");
            }
        }

        // What is left of a guard that is stopped gets old.
        guard.stop();
        prometheus.wait_for("oom_guard:file_age_seconds > 3");
        // At its level all the time.
        let guard = sandbox.guard(&[&stats[..], &["--dryrun", "-m", "99,98"]].concat());
        prometheus.wait_for_alert("OomGuardAtLevel", "pending");
        guard.stop();
        fs::remove_file(&file).expect("the numbers");
        prometheus.wait_for_alert("OomGuardGone", "pending");
    });
}
