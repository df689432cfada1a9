use super::*;
use crate::config::testing::{World, brief, faults};
use crate::lvs::check::CheckKind;
use crate::lvs::exchange::Exchange;
use crate::lvs::model::VirtualService;
use std::path::Path;

fn load(text: &str) -> (Vec<VirtualService>, Vec<Diagnostic>) {
    let name = DirectorName::new("test.cf").unwrap();
    let read = read(&Source::literal("test.cf", text), &name, &World::default());
    assert_eq!(read.director.director.services.len(), read.director.services.len());
    (read.director.director.services, read.found)
}

/// One service on port 80 with these lines in it.
fn section(lines: &str) -> (Vec<VirtualService>, Vec<Diagnostic>) {
    load(&format!("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n{lines}"))
}

/// Service and servers in a few words.
fn told(services: &[VirtualService]) -> String {
    let service = |service: &VirtualService| {
        let reals: Vec<_> = service
            .reals
            .iter()
            .map(|r| format!("{} {:?} {}", r.key, r.forwarding, r.weight))
            .collect();
        format!("{:#}: {}", service.key, reals.join(", "))
    };
    services.iter().map(service).collect::<Vec<_>>().join("; ")
}

#[test]
fn addresses_and_real_servers_are_read_as_ldirectord_does() {
    for (text, want) in [
        ("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n", "tcp 10.0.0.1:80: 10.0.0.2:80 Gate 1"),
        ("virtual=10.0.0.1:http\n real=web1:http gate 0", "tcp 10.0.0.1:80: 10.0.0.2:80 Gate 0"),
        ("virtual=web1:80\n\treal=10.0.0.2 masq\n", "tcp 10.0.0.2:80: 10.0.0.2:80 Masq 1"),
        ("virtual=10.0.0.1:80\n\treal=10.0.0.2:81 masq 7", "tcp 10.0.0.1:80: 10.0.0.2:81 Masq 7"),
        ("virtual=10.0.0.1:80\n\treal=10.0.0.2:81 ipip", "tcp 10.0.0.1:80: 10.0.0.2:80 Ipip 1"),
        ("virtual  =  10.0.0.1:80 junk\n", "tcp 10.0.0.1:80: "),
        ("virtual=5\n\treal=10.0.0.2:80 gate\n", "fwm 5: 10.0.0.2:80 Gate 1"),
        ("virtual=5\n\treal=10.0.0.2:80 masq\n", "fwm 5: 10.0.0.2:80 Masq 1"),
        ("virtual6=7\n\treal6=[2001:db8::2] gate\n", "fwm6 7: [2001:db8::2]:0 Gate 1"),
        (
            "virtual6=[2001:db8::1]:80\n\treal6=[2001:db8::2]->[2001:db8::3]:80 masq\n",
            "tcp [2001:db8::1]:80: [2001:db8::2]:80 Masq 1, [2001:db8::3]:80 Masq 1",
        ),
        (
            "virtual=[2001:db8::1]:80\n\treal=web6 gate\n",
            "tcp [2001:db8::1]:80: [2001:db8::2]:80 Gate 1",
        ),
        (
            "virtual=10.0.0.1:80\n\treal=9.255.255.255->10.0.0.0:80 gate 2\n",
            "tcp 10.0.0.1:80: 9.255.255.255:80 Gate 2, 10.0.0.0:80 Gate 2",
        ),
        ("virtual=10.0.0.1:80\n\treal=[10.0.0.2]:80 gate\n", "tcp 10.0.0.1:80: 10.0.0.2:80 Gate 1"),
        ("virtual=10.0.0.1:80\n\treal=my_host:80 gate\n", "tcp 10.0.0.1:80: 10.0.0.2:80 Gate 1"),
        (
            "virtual=10.0.0.1:8080\n\treal=10.0.0.2 gate\n\tprotocol=udp",
            "udp 10.0.0.1:8080: 10.0.0.2:8080 Gate 1",
        ),
    ] {
        let (services, found) = load(text);
        assert_eq!(faults(&found), Vec::<String>::new(), "{text:?}");
        assert_eq!(told(&services), want, "{text:?}");
    }
}

#[test]
fn what_ldirectord_takes_for_something_else_is_a_fault_or_the_documented_thing() {
    for (text, want) in [
        ("virtual=10.0.0.1\n", "1 `10.0.0.1` has no port"),
        ("virtual=0\n", "1 `0` is not a whole number of 1 or more"),
        ("virtual=5abc\n", "1 `5abc` has no port"),
        (
            "virtual=10.0.0.1:0\n\treal=10.0.0.2 gate\n\tchecktype=ping",
            "1 port 0 is every port, and the kernel takes that only with persistence",
        ),
        (
            "virtual=10.0.0.1:80\n\treal=10.0.0.2:80\n",
            "2 a real server is an address and a forwarding method",
        ),
        ("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate -1\n", "2 `-1` is not understood here"),
        ("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate 1.5\n", "2 `1.5` is not a weight"),
        (
            "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate \"a\"\n",
            "2 request and receive are two texts in quotes",
        ),
        (
            "virtual=10.0.0.1:80\n\treal=0.0.0.0->255.255.255.255:80 gate\n",
            "2 a range of over 10000 servers",
        ),
        ("virtual=5\n\tprotocol=tcp\n", "2 a firewall mark has no protocol `tcp`"),
        (
            "virtual=10.0.0.1:80\n\tprotocol=fwm\n",
            "2 `fwm` is for a firewall mark, not for an address",
        ),
        ("virtual=10.0.0.1:80\n\tfallback=[::1]:80\n", "2 an IPv6 address in an IPv4 service"),
        ("virtual=10.0.0.1:80\n\tfallback=127.0.0.1:80 gate 1\n", "2 a sorry server has no weight"),
        ("service=http\n", "1 `service` outside of a virtual service"),
        ("include=/etc/x\n", "1 unknown directive `include`"),
        ("checktimeout 3\n", "1 no `=`"),
    ] {
        let (_, found) = load(text);
        assert!(faults(&found).contains(&want.to_owned()), "{text:?}: {:?}", brief(&found));
    }
}

#[test]
fn blanks_comments_and_quotes_never_stop_a_file() {
    for (lines, want) in [
        ("\n\tscheduler=rr\n", "4 warning: `scheduler` is read as part of 10.0.0.1:80"),
        (" \t \n\tscheduler=rr\n", "4 warning: `scheduler` is read as part of 10.0.0.1:80"),
        (" scheduler=rr\n", "3 warning: `scheduler` is read as part of 10.0.0.1:80"),
        ("scheduler=rr\n", "3 warning: `scheduler` is read as part of 10.0.0.1:80"),
        ("\tscheduler=rr junk\n", "3 warning: `junk` is ignored"),
        ("\tscheduler=rr # the best\n", ""),
        ("\tscheduler=rr\n# at the margin\n\tquiescent=no\n", ""),
        ("\tscheduler=rr\n\tquiescent=no \t\n", ""),
        (
            "\tscheduler=rr\n\tquiescent=1\n",
            "4 warning: read as `yes`; ldirectord takes yes and no only",
        ),
        ("\tscheduler=rr\n\treceive=OK\n", "4 warning: read as \"OK\": quotes are missing"),
        ("\tscheduler=rr\n\treceive=\"OK\" junk\n", "4 warning: `junk` is ignored"),
        (
            "\tscheduler=rr\n\treceive=\"a#b\"\n",
            "4 warning: a `#` in quotes is part of the text; in a section ldirectord cuts it there",
        ),
        ("\tscheduler=rr\n\tpersistent=10m\n", "4 warning: read as 10, as ldirectord does"),
        ("\tscheduler=rr\nquiescent=yes # now\n", "4 warning: comment behind a global value"),
        ("\tscheduler=lc\n\tscheduler=rr\n", "4 warning: `scheduler` again; this one counts"),
    ] {
        let (services, found) = section(lines);
        assert_eq!(brief(&found).join("\n"), want, "{lines:?}");
        assert_eq!(services[0].scheduler, "rr", "{lines:?}");
    }
    let text =
        "checktimeout=3\r\nvirtual=10.0.0.1:80\r\n\treal=10.0.0.2:80 gate\r\n\tquiescent=yes\r\n";
    let (services, found) = load(text);
    assert!(services[0].quiescent);
    assert_eq!(
        brief(&found),
        ["0 warning: has the line ends of Windows (CRLF), which are accepted"]
    );
}

#[test]
fn timeouts_are_looked_for_in_the_order_of_ldirectord() {
    for (globals, lines, negotiate, connect) in [
        ("", "", 30, 5),
        ("checktimeout=3\n", "", 3, 3),
        ("negotiatetimeout=4\n", "", 4, 4),
        ("checktimeout=3\nnegotiatetimeout=4\n", "", 4, 3),
        ("negotiatetimeout=4\n", "\tchecktimeout=6\n", 6, 6),
        ("checktimeout=3\n", "\tnegotiatetimeout=7\n", 7, 7),
        ("", "\tnegotiatetimeout=7\n\tchecktimeout=6\n", 7, 6),
    ] {
        for (kind, want) in [("negotiate", negotiate), ("connect", connect)] {
            let text = format!("{globals}virtual=10.0.0.1:80\n{lines}\tchecktype={kind}\n");
            let (services, _) = load(&text);
            assert_eq!(services[0].timeout.as_secs(), want, "{text:?}");
        }
    }
}

#[test]
fn no_server_is_up_unchecked_without_a_word_about_it() {
    let check = |head: &str, lines: &str| {
        let (services, found) = load(&format!("virtual={head}\n\treal=10.0.0.2 gate\n{lines}"));
        let real = services.first().and_then(|service| service.reals.first().cloned());
        let real = real.map(|real| (format!("{:?}", real.check), real.check_port));
        (real, brief(&found))
    };
    let connect = Some(("Connect(Tcp)".to_owned(), 8080));
    let (real, found) = check("10.0.0.1:8080", "");
    assert_eq!(real, connect);
    assert_eq!(found, ["1 warning: nothing to negotiate: a connect check is made instead"]);
    let (real, found) = check("10.0.0.1:80", "\tservice=none\n\tcheckport=8080\n");
    assert_eq!(real, connect);
    assert_eq!(found, ["3 warning: nothing to negotiate: a connect check is made instead"]);
    for head in ["1", "10.0.0.1:123\n\tprotocol=udp"] {
        let (real, found) = check(head, "");
        assert_eq!(real, Some(("On".to_owned(), 0)));
        assert_eq!(found, ["1 warning: nothing to check: the servers are taken as always up"]);
    }
    assert_eq!(check("10.0.0.1:80", "\tchecktype=off\n"), (Some(("Off".to_owned(), 0)), vec![]));
    assert_eq!(check("10.0.0.1:80", "\tchecktype=on\n"), (Some(("On".to_owned(), 0)), vec![]));
    assert_eq!(check("1", "\tchecktype=connect\n").1, ["2 fault: no port to check at"]);
    for port in
        [21, 25, 53, 110, 119, 143, 389, 587, 636, 993, 995, 1521, 1812, 3128, 3306, 5060, 5432]
    {
        let (real, found) = check(&format!("10.0.0.1:{port}"), "");
        let negotiates = real.is_some_and(|(check, _)| check.starts_with("Negotiate"));
        let refused = found.iter().any(|found| found.contains("fault"));
        assert!(negotiates != refused, "{port}: {found:?}");
        let (real, found) = check(&format!("10.0.0.1:{port}"), "\tchecktype=ping\n");
        assert_eq!((real, found), (Some(("Ping".to_owned(), 0)), vec![]));
    }
}

#[test]
fn a_service_that_can_not_be_checked_is_one_fault_with_what_there_is_instead() {
    let instead = "docs/LDIRECTORD.md has the services; `checktype=connect` or `checktype=ping` \
                   for anything else";
    for (head, service, want) in [
        ("10.0.0.1:8080", "gopher", "`gopher` is not a service of ldirectord"),
        ("10.0.0.1:80", "gopher", "`gopher` is not a service of ldirectord"),
        ("10.0.0.1:123\n\tprotocol=udp", "gopher", "`gopher` is not a service of ldirectord"),
    ] {
        let text = format!("virtual={head}\n\treal=10.0.0.2 gate\n\tservice={service}\n");
        let (_, found) = load(&text);
        let [fault] = &found[..] else { panic!("{text:?}: {:?}", brief(&found)) };
        assert_eq!((fault.message.as_str(), fault.help.as_deref()), (want, Some(instead)));
    }
}

/// ldirectord compares them as texts: where the count of digits changes it finds no server, and says
/// nothing.
#[test]
fn a_range_is_compared_by_number_whatever_its_digits() {
    let (services, found) =
        load("virtual=10.0.0.1:80\n\treal=59.154.201.254->59.154.202.1:80 masq\n");
    assert_eq!(faults(&found), Vec::<String>::new());
    let reals: Vec<_> = services[0].reals.iter().map(|real| real.key.to_string()).collect();
    let want = ["59.154.201.254:80", "59.154.201.255:80", "59.154.202.0:80", "59.154.202.1:80"];
    assert_eq!(reals, want);
}

/// ldirectord dies of it at the first check.
#[test]
fn an_expression_that_is_none_is_a_fault_at_its_place() {
    for (pattern, what) in [
        ("(", "unclosed group"),
        ("[a", "unclosed character class"),
        ("*", "repetition operator missing expression"),
        ("(?=a)b", "look-around"),
        (r"(a)\1", "backreferences are not supported"),
    ] {
        let (_, found) = section(&format!("\treceive=\"{pattern}\"\n"));
        let faults = faults(&found);
        let [fault] = faults.as_slice() else { panic!("{pattern}: {faults:?}") };
        assert!(fault.starts_with("3 not a regular expression that can be used: "), "{fault}");
        assert!(fault.contains(what), "{pattern}: {fault}");
    }
}

/// ldirectord always takes 143 and 993 for imap.
#[test]
fn the_port_of_a_check_is_the_one_that_is_written() {
    for service in ["imap", "imaps", "pop", "pops", "smtp", "nntp", "http"] {
        let port = |lines: &str| {
            let (services, found) = section(&format!("\tservice={service}\n{lines}"));
            assert_eq!(faults(&found), Vec::<String>::new(), "{service}");
            services[0].reals[0].check_port
        };
        assert_eq!(port(""), 80, "{service}: the server's");
        assert_eq!(port("\tcheckport=1143\n"), 1143, "{service}");
    }
}

#[test]
fn request_and_receive_of_a_server_are_used() {
    let (services, found) = load(
        "virtual=10.0.0.1:80\n\
         \treal=10.0.0.2:80 gate\n\
         \treal=10.0.0.3:80 gate 1 \"a\",\"b\"\n\
         \treal=10.0.0.4:80 gate \"/c\" \"d\" l:1 u:2\n\
         \treal=10.0.0.5:80 gate 1 \"http://10.1.0.5:81/e\", \"\"\n\
         \trequest=\"index.html\"\n\treceive=\"x\"\n\tvirtualhost=www.example.com\n",
    );
    assert_eq!(faults(&found), Vec::<String>::new());
    let told: Vec<_> = services[0]
        .reals
        .iter()
        .map(|real| {
            let Some(Exchange::Http(http)) = real.check.exchange() else { panic!("{real:?}") };
            let receive = http.want.receive.as_deref().unwrap_or("-");
            format!("{}:{} {} {receive}", real.check_address, real.check_port, http.path)
        })
        .collect();
    assert_eq!(
        told,
        ["10.0.0.2:80 /index.html x", "10.0.0.3:80 /a b", "10.0.0.4:80 /c d", "10.1.0.5:81 /e -"]
    );
}

#[test]
fn the_sorry_server_is_the_sections_own_or_the_global_one_of_its_family() {
    let fallback = |text: &str| {
        let (services, _) = load(text);
        services[0].fallback.as_ref().map(|sorry| format!("{} {:?}", sorry.key, sorry.forwarding))
    };
    let own = "virtual=10.0.0.1:80\n\tfallback=127.0.0.2:8080 masq\n";
    for (text, want) in [
        ("virtual=10.0.0.1:80\n".to_owned(), None),
        ("fallback=127.0.0.1\nvirtual=10.0.0.1:81\n".to_owned(), Some("127.0.0.1:81 Gate")),
        ("virtual=10.0.0.1:81\nfallback=127.0.0.1:80\n".to_owned(), Some("127.0.0.1:81 Gate")),
        (format!("fallback=127.0.0.1\n{own}"), Some("127.0.0.2:8080 Masq")),
        ("fallback=127.0.0.1:80\nvirtual=3\n".to_owned(), Some("127.0.0.1:80 Gate")),
        ("fallback=127.0.0.1:80\nvirtual6=[2001:db8::1]:80\n".to_owned(), None),
        ("fallback6=[::1]\nvirtual6=[2001:db8::1]:80\n".to_owned(), Some("[::1]:80 Gate")),
    ] {
        assert_eq!(fallback(&text).as_deref(), want, "{text:?}");
    }
}

#[test]
fn an_external_check_names_its_program_and_what_it_is_told_and_no_shell_is_run() {
    let programs = |text: &str| -> (Vec<String>, Vec<String>) {
        let (services, found) = load(text);
        let reals = services.iter().flat_map(|service| &service.reals);
        let told = reals.map(|real| match &real.check {
            CheckKind::External(check) => {
                format!(
                    "{} {:?} {:?} {}",
                    check.program, check.args, check.told, real.check_address
                )
            }
            other => panic!("{other:?}"),
        });
        (told.collect(), brief(&found))
    };
    let lines = "\treal=10.0.0.2->10.0.0.3:8080 masq\n\tchecktype=external\n";
    let (told, found) = programs(&format!("virtual=10.0.0.1:80\n{lines}\tcheckcommand=/x/y\n"));
    let told_of = |address| {
        format!(
            "/x/y [] Arguments {{ service: \"10.0.0.1\", service_port: 80, port: 8080 }} {address}"
        )
    };
    assert_eq!((told, found), (vec![told_of("10.0.0.2"), told_of("10.0.0.3")], vec![]));

    let lines = "\treal=10.0.0.2 gate\n\tchecktype=external-perl\n";
    let (told, found) = programs(&format!("virtual=7\n{lines}\tcheckcommand=\"/x/y.pl\"\n"));
    let want = "perl [\"/x/y.pl\"] Arguments { service: \"7\", service_port: 0, port: 0 } 10.0.0.2";
    assert_eq!((told, found), (vec![want.to_owned()], vec![]));

    let (_, found) = section("\tchecktype=external\n");
    assert_eq!(brief(&found), ["3 warning: without `checkcommand` this runs /bin/true: always up"]);
    let (_, found) = section("\tchecktype=external\n\tcheckcommand=/bin/test -e /x\n");
    let whole = "4 warning: the whole line is the name of one file: there is no shell";
    assert_eq!(brief(&found), [whole]);
}

/// The rows of a table in the documentation: name and fate.
fn documented(heading: &str) -> Vec<(&'static str, &'static str)> {
    let page = include_str!("../../../docs/LDIRECTORD.md");
    let rows = page.lines().skip_while(|line| *line != heading).skip(2);
    let rows = rows.take_while(|line| line.starts_with("| "));
    rows.map(|line| {
        let mut cells = line.split(" | ");
        let name = cells.next().unwrap().trim_start_matches("| ").trim_matches('`');
        (name, cells.next().unwrap())
    })
    .collect()
}

#[test]
fn the_documentation_says_of_every_directive_what_becomes_of_it() {
    let said = documented("| directive | fate | what it does here |");
    let names: Vec<&str> = said.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, directives::names().collect::<Vec<_>>());
    for (name, fate) in said {
        let needless = needless::ROWS.iter().any(|row| row.directive == name);
        let refused =
            matches!(directives::find(name).unwrap().scope, directives::Scope::Nowhere(_));
        let is = match (needless, refused) {
            (true, false) => "needless",
            (false, true) => "refused",
            (false, false) if fate == "better" => "better",
            _ => "same",
        };
        assert_eq!(fate, is, "{name}");
    }
}

#[test]
fn the_documentation_says_of_every_check_whether_it_is_made() {
    let types = documented("| checktype | fate | what it does here |");
    let services = documented("| service | fate | what it does here |");
    let names: Vec<&str> = services.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, file::Service::names().collect::<Vec<_>>());
    assert_eq!(types.len(), 8);
    let types = types.iter().map(|row| ("checktype", row));
    for (key, (name, fate)) in types.chain(services.iter().map(|row| ("service", row))) {
        let page = if *name == "http_proxy" { "http://d/" } else { "d" };
        let needed =
            format!("\tlogin=\"a\"\n\tpasswd=\"b\"\n\tsecret=\"c\"\n\trequest=\"{page}\"\n");
        let (_, found) = section(&format!("\t{key}={name}\n{needed}"));
        let refused = !faults(&found).is_empty();
        assert!(!refused, "{key}={name} is {fate}: {:?}", brief(&found));
    }
}

#[test]
fn what_is_not_acted_on_is_named_where_it_is_asked_for_and_stops_nothing() {
    let globals = "autoreload=no\nfork=no\nsupervised=no\nreaddquiescent=no\ncheckcount=1\n";
    let (_, found) = load(&format!("{globals}virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n"));
    assert_eq!(brief(&found), Vec::<String>::new(), "nothing is asked for");
    let (services, found) = load(
        "logfile=\"/var/log/web\"\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate 1 l:1 u:2\n\
         \treal=10.0.0.3:80 gate 1 u:2\n\tschedflags=mh-port\n\
         virtual=10.0.0.1:81\n\treal=10.0.0.2:81 gate\n\tchecktype=ping\n\tcheckcount=3\n",
    );
    assert_eq!(services.len(), 2);
    let found = brief(&found);
    assert!(found.len() == 1 && found[0].starts_with("1 warning: `logfile` is not acted on in"));
}

#[test]
fn no_password_is_ever_shown() {
    for line in [
        "\tpasswd=\"hush\" hush",
        "\tpasswd=hush",
        " passwd=\"hush\" # hush",
        "\tsecret=\"hush\"",
        "\tSecret=hush",
        "\tpaswd=\"hush\"",
        "passwd \"hush\"",
        "\tlogin=hush",
        "\tpasswd=\"hush#hush\"",
    ] {
        let source = Source::literal("test.cf", &format!("virtual=10.0.0.1:80\n{line}\n"));
        let name = DirectorName::new("test.cf").unwrap();
        let reading = reading(&source, &name, &World::default());
        for found in reading.found.iter().chain(&reading.needless) {
            let login = line.contains("login") && found.message.contains("quotes are missing");
            assert!(login || !found.to_string().contains("hush"), "{line:?}: {found}");
        }
        let password = format!("{:?}", reading.file.virtuals[0].check.password);
        assert!(!password.contains("hush"), "{password}");
    }
}

#[test]
fn a_service_is_there_once_whatever_its_lines_say() {
    let (services, found) = load("virtual=web1:80\nvirtual=10.0.0.2:http\nvirtual=10.0.0.2:81\n");
    assert_eq!(told(&services), "tcp 10.0.0.2:80: ; tcp 10.0.0.2:81: ");
    assert_eq!(faults(&found), ["2 the virtual service tcp 10.0.0.2:80 is there twice"]);
}

#[test]
fn a_meaning_of_our_own_is_said_once_with_the_count_of_the_others() {
    let own = "\treal=10.0.0.2:80 gate 1 \"/a\",\"b\"\n\treal=10.0.0.3:80 gate 1 \"/a\",\"b\"\n";
    let (_, found) = load(&format!("virtual=10.0.0.1:80\n{own}virtual=10.0.0.4:80\n{own}"));
    assert_eq!(
        brief(&found),
        ["2 warning: this server's own request and receive are used (3 times more below)"]
    );
}

#[test]
fn a_ping_check_has_as_many_times_its_limit_as_checkcount_says() {
    let timeout = |lines: &str| section(lines).0[0].timeout.as_secs();
    assert_eq!(timeout("\tchecktype=ping\n\tchecktimeout=2\n\tcheckcount=3\n"), 6);
    assert_eq!(timeout("\tchecktype=connect\n\tchecktimeout=2\n\tcheckcount=3\n"), 2);
    assert_eq!(timeout("\tchecktype=ping\n\tchecktimeout=2\n"), 2);
}

#[test]
fn the_fallbackcommand_of_a_section_counts_before_that_of_the_file() {
    let command = |text: &str| load(text).0[0].notify.fallback_command.clone().unwrap().to_string();
    let text = "fallbackcommand=/bin/all\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n";
    assert_eq!(command(text), "/bin/all");
    assert_eq!(command(&format!("{text}\tfallbackcommand=\"/bin/own -v\"\n")), "/bin/own -v");
}

#[test]
fn mails_are_wanted_as_ldirectord_has_it_and_what_is_no_address_costs_its_own_mails_only() {
    let (services, found) = load(
        "emailalert=\"ops@example.com, nobody at all\"\nemailalertfreq=3600\nsmtp=mail.example.com\n\
         emailalertfrom=\"The director\" <d@example.com>\n\
         virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n\tchecktype=connect\n\tservicename=Shop\n\
         \tcomment=ask them\n\tmonitorfile=\"/var/log/checks\"\n\
         virtual=10.0.0.1:81\n\treal=10.0.0.2:81 gate\n\tchecktype=connect\n\temailalert=root\n\
         \temailalertfreq=0\n\temailalertstatus=running, stopping\n\tsmtp=[2001:db8::25]:587\n\
         virtual=10.0.0.1:82\n\treal=10.0.0.2:82 gate\n\tchecktype=connect\n\temailalertstatus=none\n",
    );
    assert_eq!(brief(&found), Vec::<String>::new());
    let [first, second, third] = services.as_slice() else { panic!("three services") };
    let mail = first.notify.mail.as_ref().unwrap();
    assert_eq!(mail.envelope.addressees(), "ops@example.com, nobody, at, all");
    assert_eq!(mail.envelope.relay.as_ref().unwrap().to_string(), "mail.example.com:25");
    assert_eq!(mail.repeat, Some(std::time::Duration::from_secs(3600)));
    let called =
        [&first.notify.name, &first.notify.comment].map(|it| it.as_ref().unwrap().as_str());
    assert_eq!(called, ["Shop", "ask them"]);
    assert_eq!(first.notify.monitor.as_deref(), Some(Path::new("/var/log/checks")));
    let mail = second.notify.mail.as_ref().unwrap();
    assert_eq!(mail.envelope.addressees(), "root");
    assert_eq!(mail.envelope.relay.as_ref().unwrap().to_string(), "[2001:db8::25]:587");
    let sender = mail.envelope.from.as_ref().unwrap();
    assert_eq!(sender.address.as_str(), "d@example.com");
    assert_eq!(sender.name.as_ref().unwrap().as_str(), "The director");
    assert_eq!(mail.repeat, None);
    assert!(mail.stages.running && mail.stages.stopping && !mail.stages.starting);
    assert_eq!(third.notify.mail, None);
    let (services, found) = load(
        "emailalert=ops@,-x\nemailalertfrom=two words\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n\
         \tchecktype=connect\n",
    );
    assert_eq!(services[0].notify.mail, None);
    assert_eq!(
        brief(&found),
        [
            "1 warning: that is no mail address; no mail is sent to `ops@`",
            "1 warning: an address does not begin with `-`; no mail is sent to `-x`",
            "2 warning: that is no mail address; mails come from the user and the machine",
        ]
    );
}
