# Draws one picture for scripts/plot.sh, which says what comes in. `picture` names it.

BEGIN {
    WIDTH = 720
    split("", nothing)
    name["none"] = "no guard"
    name["earlyoom"] = "earlyoom"
    name["ours"] = "oom_guard"
    name["floor"] = "the cheapest scan there can be"
}

# ---- figures ----

function trimmed(cell) {
    gsub(/^[ \t*]+|[ \t*]+$/, "", cell)
    return cell
}

# The last number of a cell: of "4.2 to 11.2" the larger one. Empty for a cell without any.
function figure(cell,    words, count) {
    count = split(trimmed(cell), words, " ")
    return count > 0 && words[count] ~ /^[0-9]+(\.[0-9]+)?$/ ? words[count] + 0 : ""
}

# Of a table its first line says which column is what.
picture == "gaps" && /^\| scenario \|/ {
    split("", guard_of)
    columns = split($0, cells, "|")
    is_both = index($0, "| gap, s |")
    for (i = 2; i < columns; i++) {
        if (trimmed(cells[i]) == "gap, s") guard_of[i] = "ours"
        if (trimmed(cells[i]) == "gap") guard_of[i] = is_both ? "earlyoom" : "none"
    }
    next
}
picture == "scan" && /^\| measure \|/ {
    split("", guard_of)
    columns = split($0, cells, "|")
    for (i = 2; i < columns; i++) {
        title = trimmed(cells[i])
        if (title == "guard") guard_of[i] = "ours"
        if (title == "earlyoom" || title == "floor") guard_of[i] = title
    }
    next
}
!/^\|/ { split("", guard_of) }

picture == "gaps" && /^\| [a-z]/ {
    split($0, cells, "|")
    row = trimmed(cells[2])
    sub(/[: ].*/, "", row)
    if (row ~ /^healthy/) next
    for (i in guard_of) if (figure(cells[i]) != "") value[row, guard_of[i]] = figure(cells[i])
    note(row)
}

picture == "scan" && /^\| a scan, [0-9,]+ processes, one stands out/ {
    split($0, cells, "|")
    row = cells[2]
    gsub(/[^0-9]/, "", row)
    for (i in guard_of) if (figure(cells[i]) != "") value[row, guard_of[i]] = figure(cells[i])
    note(row)
}

function note(row) {
    if (!(row in place)) {
        place[row] = ++rows
        row_at[rows] = row
    }
}

picture == "memory" && $1 == "guard" { now = $2; count[now] = 0; next }
picture == "memory" && $1 == "series" {
    at[now, ++count[now]] = $2 / 1000
    value[now, count[now]] = $3
    if ($2 / 1000 > last) last = $2 / 1000
}
picture == "memory" && $1 == "result" && $2 == "gap_ms" { gap[now] = $3 / 1000 }
picture == "memory" && $1 == "result" && $2 == "fill" { ended[now] = $3 }

# ---- drawing ----

# The scheme is the system's, not the page's, so the picture brings its own ground.
function begin(height, title) {
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n", WIDTH, height, WIDTH, height
    printf "<title>%s</title>\n", title
    print "<style>"
    print ".ground { fill: #ffffff }"
    print "text { font: 13px sans-serif; fill: #1f2328 }"
    print ".title { font-weight: bold; font-size: 15px }"
    print ".small { font-size: 11px; fill: #59636e }"
    print ".grid { stroke: #8c959f; stroke-opacity: .35 }"
    print ".level { stroke: #cf222e; stroke-dasharray: 6 4 }"
    print ".line { fill: none; stroke-width: 2 }"
    print ".none { fill: #818b98 } .line.none { stroke: #818b98; fill: none }"
    print ".earlyoom { fill: #bc6c00 } .line.earlyoom { stroke: #bc6c00; fill: none }"
    print ".ours { fill: #0969da } .line.ours { stroke: #0969da; fill: none }"
    print ".floor { fill: #818b98 } .line.floor { stroke: #818b98; fill: none; stroke-dasharray: 3 3 }"
    print "@media (prefers-color-scheme: dark) {"
    print ".ground { fill: #0d1117 }"
    print "text { fill: #e6edf3 }"
    print ".small { fill: #9198a1 }"
    print ".level { stroke: #ff7b72 }"
    print ".earlyoom { fill: #e3a341 } .line.earlyoom { stroke: #e3a341; fill: none }"
    print ".ours { fill: #58a6ff } .line.ours { stroke: #58a6ff; fill: none }"
    print "}"
    print "</style>"
    printf "<rect class=\"ground\" width=\"%d\" height=\"%d\"/>\n", WIDTH, height
    text(10, 22, title, "title", "start")
}

function end() {
    print "</svg>"
}

function text(x, y, what, class, anchor) {
    printf "<text x=\"%.1f\" y=\"%.1f\"%s text-anchor=\"%s\">%s</text>\n", x, y, class == "" ? "" : " class=\"" class "\"", anchor, what
}

function line(x1, y1, x2, y2, class) {
    printf "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1, x2, y2
}

function box(x, y, width, height, class) {
    printf "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", class, x, y, width, height
}

# legend(X, Y, GUARDS, MORE): a square and a name for each, MORE[guard] behind it.
function legend(x, y, guards, more,    all, total, i, label) {
    total = split(guards, all, " ")
    for (i = 1; i <= total; i++) {
        label = name[all[i]] (all[i] in more ? more[all[i]] : "")
        box(x, y - 10, 11, 11, all[i])
        text(x + 17, y, label, "", "start")
        x += 42 + 7.2 * length(label)
    }
}

# The distance between two lines of the grid, of which there are at most eight.
function step_for(most,    step, digits) {
    for (step = 0.001; most / step > 8; ) {
        digits = sprintf("%.0e", step)
        step *= digits ~ /^2/ ? 2.5 : 2
    }
    return step
}

function missing(what) {
    print "plot.sh: " picture ": " what > "/dev/stderr"
    failed = 1
    exit 1
}

END {
    if (failed) exit 1
    if (picture == "gaps") draw_gaps()
    if (picture == "scan") draw_scan()
    if (picture == "memory") draw_memory()
}

function draw_gaps(    i, j, guards, total, known, most, row, drawn, y, x, scale, step, tick, height) {
    total = split("none earlyoom ours", guards, " ")
    for (i = 1; i <= rows; i++) {
        known = 0
        worst[i] = 0
        for (j = 1; j <= total; j++) {
            if (!((row_at[i], guards[j]) in value)) continue
            known++
            if (value[row_at[i], guards[j]] > worst[i]) worst[i] = value[row_at[i], guards[j]]
        }
        is_drawn[i] = known >= 2 && worst[i] >= 1
        if (!is_drawn[i]) continue
        drawn++
        if (worst[i] > most) most = worst[i]
    }
    if (!drawn) missing("there is no table with gaps of two guards")
    height = 82 + 48 * drawn + 40
    begin(height, "Longest time until a program that was started had ended, seconds")
    legend(130, 48, "none earlyoom ours", nothing)
    step = step_for(most)
    scale = (WIDTH - 130 - 50) / most
    for (tick = 0; tick <= most; tick += step) {
        x = 130 + tick * scale
        line(x, 62, x, 62 + 48 * drawn, "grid")
        text(x, 76 + 48 * drawn, tick "", "small", "middle")
    }
    y = 68
    for (i = 1; i <= rows; i++) {
        if (!is_drawn[i]) continue
        row = row_at[i]
        text(122, y + 22, row, "", "end")
        for (j = 1; j <= total; j++) {
            if ((row, guards[j]) in value) {
                box(130, y, value[row, guards[j]] * scale, 11, guards[j])
                text(135 + value[row, guards[j]] * scale, y + 10, value[row, guards[j]] "", "small", "start")
            } else {
                text(135, y + 10, name[guards[j]] ": not measured", "small", "start")
            }
            y += 12
        }
        y += 12
    }
    text(10, height - 22, "One run of each or the median of some, in an emulated machine of 256 MiB with a slow card.", "small", "start")
    text(10, height - 8, "Scenarios in which no gap was one second long are left out.", "small", "start")
    end()
}

function draw_scan(    i, j, k, swap, guards, total, most, widest, x0, y0, w, h, step, tick, points, x, y) {
    # By the number of processes.
    for (i = 2; i <= rows; i++) for (j = i; j > 1 && row_at[j - 1] + 0 > row_at[j] + 0; j--) {
        swap = row_at[j]
        row_at[j] = row_at[j - 1]
        row_at[j - 1] = swap
    }
    if (rows < 2) missing("there is no table with scans of two numbers of processes")
    total = split("earlyoom ours floor", guards, " ")
    for (i = 1; i <= rows; i++) for (j = 1; j <= total; j++)
        if ((row_at[i], guards[j]) in value && value[row_at[i], guards[j]] + 0 > most) most = value[row_at[i], guards[j]] + 0
    widest = row_at[rows] + 0
    x0 = 60; y0 = 300; w = WIDTH - 110; h = 230
    begin(360, "Processor time of one scan, milliseconds, over the number of processes")
    legend(60, 48, "earlyoom ours floor", nothing)
    step = step_for(most)
    for (tick = 0; tick <= most * 1.08; tick += step) {
        line(x0, y0 - tick / most / 1.08 * h, x0 + w, y0 - tick / most / 1.08 * h, "grid")
        text(x0 - 8, y0 + 4 - tick / most / 1.08 * h, tick "", "small", "end")
    }
    for (i = 1; i <= rows; i++) text(x0 + row_at[i] / widest * w, y0 + 18, row_at[i], "small", "middle")
    text(x0, y0 + 18, "0", "small", "middle")
    for (j = 1; j <= total; j++) {
        points = ""
        for (i = 1; i <= rows; i++) {
            if (!((row_at[i], guards[j]) in value)) continue
            x = x0 + row_at[i] / widest * w
            y = y0 - value[row_at[i], guards[j]] / most / 1.08 * h
            points = points sprintf("%s%.1f,%.1f", points == "" ? "" : " ", x, y)
            printf "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>\n", guards[j], x, y
            # The floor's figure goes below its point, which others may lie on.
            if (i == rows) text(x + 7, y + (guards[j] == "floor" ? 12 : 4), value[row_at[i], guards[j]] "", "small", "start")
        }
        if (points != "") printf "<polyline class=\"line %s\" points=\"%s\"/>\n", guards[j], points
    }
    text(10, 346, "One process stands out. The cheapest scan opens, reads and closes one file of each process.", "small", "start")
    end()
}

function draw_memory(    i, j, guards, total, all, x0, y0, w, h, step, tick, points, more, end_at) {
    total = split("none earlyoom ours", guards, " ")
    for (j = 1; j <= total; j++) {
        if (count[guards[j]] < 2) continue
        all = all (all == "" ? "" : " ") guards[j]
        more[guards[j]] = sprintf(", longest gap %.1f s", gap[guards[j]])
    }
    if (split(all, guards, " ") < 2) missing("there are no series of " scenario " for two guards: scripts/rescue.sh " scenario " --guard none --guard ours")
    total = split(all, guards, " ")
    x0 = 60; y0 = 300; w = WIDTH - 90; h = 230
    begin(374, "Available memory over time in the scenario " scenario ", % of user memory")
    legend(60, 48, all, more)
    for (tick = 0; tick <= 100; tick += 20) {
        line(x0, y0 - tick / 100 * h, x0 + w, y0 - tick / 100 * h, "grid")
        text(x0 - 8, y0 + 4 - tick / 100 * h, tick "", "small", "end")
    }
    line(x0, y0 - 0.1 * h, x0 + w, y0 - 0.1 * h, "level")
    text(x0 + w, y0 - 0.1 * h - 10, "level of SIGTERM, if swap is low, too", "small", "end")
    step = step_for(last)
    for (tick = 0; tick <= last; tick += step) text(x0 + tick / last * w, y0 + 18, tick " s", "small", "middle")
    for (j = 1; j <= total; j++) {
        points = ""
        for (i = 1; i <= count[guards[j]]; i++)
            points = points sprintf("%s%.1f,%.1f", i == 1 ? "" : " ", x0 + at[guards[j], i] / last * w, y0 - value[guards[j], i] / 100 * h)
        printf "<polyline class=\"line %s\" points=\"%s\"/>\n", guards[j], points
        if (ended[guards[j]] ~ /^[0-9]+$/) {
            end_at = x0 + ended[guards[j]] / 1000 / last * w
            text(end_at + 6, y0 - h / 2, sprintf("%s: ended after %.1f s", name[guards[j]], ended[guards[j]] / 1000), "small", "start")
        }
    }
    text(10, 346, "One run of each, in an emulated machine of 256 MiB with a slow card.", "small", "start")
    text(10, 360, "What is never ended is stopped when the time of the scenario is over.", "small", "start")
    end()
}
