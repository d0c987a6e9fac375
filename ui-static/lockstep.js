// Everything here is an extra: each page is complete without it.
(() => {
  'use strict';
  const $ = (s, r = document) => r.querySelector(s), $$ = (s, r = document) => [...r.querySelectorAll(s)];
  const root = document.documentElement, live = $('#live'), stale = $('#stale'), html = { headers: { accept: 'text/html' } };
  const mem = { get: k => { try { return localStorage.getItem('lockstep.' + k) } catch { return null } },
    set: (k, v) => { try { localStorage.setItem('lockstep.' + k, v) } catch {} } };

  // Time: the server's clock, not the viewer's. The stream corrects it, since a page may come from the browser's cache.
  let skew = Date.parse(root.dataset.now) - Date.now();
  const now = () => Date.now() + skew, clock = t => { const at = Date.parse(t); if (at) skew = at - Date.now(); };
  const hms = t => new Date(t).toISOString().slice(11, 19);
  const rel = s => s < 60 ? Math.max(1, Math.round(s)) + ' s' : s < 5400 ? Math.round(s / 60) + ' min'
    : s < 129600 ? Math.round(s / 3600) + ' h' : Math.round(s / 86400) + ' d';
  const tick = () => $$('time.ago').forEach(el => {
    const v = rel((now() - Date.parse(el.dateTime)) / 1000) + (/ ago$/.test(el.textContent) ? ' ago' : '');
    if (el.textContent !== v) el.textContent = v;
    el.title = el.dateTime.replace('T', ' ').replace(/(\.\d+)?Z$/, ' UTC');
  });

  // Theme: follows the system until told otherwise.
  const themes = ['auto', 'light', 'dark'], themeB = $('#theme');
  const theme = v => { v === 'auto' ? delete root.dataset.theme : root.dataset.theme = v; themeB.textContent = 'Theme: ' + v; };
  const nextTheme = () => { const v = themes[(themes.indexOf(mem.get('theme') || 'auto') + 1) % 3]; mem.set('theme', v); theme(v); };
  theme(mem.get('theme') || 'auto'); themeB.hidden = false; themeB.onclick = nextTheme;

  // Copy buttons on commands.
  const say = t => { $('#say').textContent = ''; setTimeout(() => { $('#say').textContent = t }, 50); };
  const copy = async (t, b) => { try { await navigator.clipboard.writeText(t) } catch {
      const a = document.createElement('textarea'); a.value = t; document.body.append(a); a.select(); document.execCommand('copy'); a.remove(); }
    if (b) { b.textContent = 'Copied'; setTimeout(() => { b.textContent = 'Copy' }, 1500); } say('Copied ' + t); };
  const dress = r => $$('.cmd', r).forEach(c => { if ($('button', c)) return;
    const b = document.createElement('button'); b.type = 'button'; b.textContent = 'Copy';
    b.setAttribute('aria-label', 'Copy: ' + $('code', c).textContent);
    b.onclick = () => copy($('code', c).textContent, b); c.append(b); });
  dress(document);

  // Filter the overview as you type; without this the form asks the server.
  const q = $('#q'), apps = () => $$('.app');
  const filter = () => { const w = q.value.toLowerCase().split(/\s+/).filter(Boolean); let n = 0;
    apps().forEach(a => { const text = (a.dataset.k + ' ' + a.textContent).toLowerCase();
      const hit = w.every(x => x.startsWith('status:') ? a.dataset.s === x.slice(7) : x.startsWith('env:') ? a.dataset.k.startsWith(x.slice(4) + '/') : text.includes(x));
      a.hidden = !hit; n += hit; });
    $$('.env').forEach(s => { s.hidden = !$('.app:not([hidden])', s); });
    $$('details.rest').forEach(d => { d.hidden = !$('.app:not([hidden])', d); if (w.length) d.open = true; });
    const p = $('#none'); if (p) { p.hidden = !w.length; p.textContent = n ? `Showing ${n} of ${apps().length}. Esc shows all.` : `No app matches “${q.value}”. Esc shows all ${apps().length}.`; } };
  const front = !!$('[data-k=head]'), paged = !!$('[data-paged]');
  if (front && !paged) { q.oninput = filter; q.form.onsubmit = e => { const a = apps().find(x => !x.hidden); if (a) { e.preventDefault(); $('.name', a).click(); } }; }

  // Live: the stream only rings; the changed piece is fetched as HTML and swapped by key.
  let last = now(), paused = false, es, timer, said = 0, seen = '';
  const show = (s, t) => { live.dataset.state = s; live.lastElementChild.textContent = t; };
  const piece = key => $$('[data-k]').find(el => el.dataset.k === key);
  const selecting = el => { const s = getSelection(); return s && !s.isCollapsed && el.contains(s.anchorNode); };
  const held = new WeakMap();
  const swap = (old, neu, calm) => { const was = neu?.outerHTML; if (!old || !neu || held.get(old) === was) return;
    const had = old.contains(document.activeElement), at = document.activeElement?.getAttribute?.('href');
    $$('details[id]', neu).forEach(d => { const o = document.getElementById(d.id); if (o) d.open = o.open; });
    if (old.classList.contains('sel')) neu.classList.add('sel');
    old.replaceWith(neu); held.set(neu, was); dress(neu); tick(); if (!calm) neu.classList.add('flash');
    if (had) ($$('a', neu).find(a => a.getAttribute('href') === at) || $('a', neu))?.focus({ preventScroll: true });
    if (front && q.value && !paged) filter(); };
  const announce = t => { if (t && now() - said > 3000) { said = now(); say(t); } };
  const parse = t => { const tpl = document.createElement('template'); tpl.innerHTML = t.trim(); return tpl.content.firstElementChild; };
  const at = only => { const u = new URL(location.href); u.hash = ''; u.searchParams.set('only', only); return u; };

  // At most one fetch per key and second, four at a time, the last ring wins.
  const waiting = new Map(), busy = new Map(); let flying = 0;
  const ask = (key, calm) => { waiting.set(key, calm); pump(); };
  const pump = () => { for (const [key, calm] of waiting) { if (flying >= 4) return;
      const since = Date.now() - (busy.get(key) || 0);
      if (since < 1000) { setTimeout(pump, 1010 - since); continue; }
      waiting.delete(key); busy.set(key, Date.now()); flying++;
      load(key, calm).catch(() => {}).finally(() => { flying--; pump(); }); } };
  const load = async (key, calm) => { const old = piece(key); if (old && selecting(old)) { setTimeout(() => ask(key, calm), 2000); return; }
    const r = await fetch(at(key), html);
    if (r.status === 404 || r.status === 410) { if (front) old?.remove(); else location.reload(); return; }
    if (!r.ok) return;
    const neu = parse(await r.text()); if (!neu) return;
    if (key === 'head' && neu.dataset.title) document.title = neu.dataset.title;
    swap(old, neu, calm); };
  const ring = m => { last = now(); const d = JSON.parse(m.data);
    if (piece(d.key)) ask(d.key); else if (front && !d.was && d.state) { if (!location.search) whole(); }
    if (front) ask('head', true);
    if (piece(d.key)) announce(d.say); };
  // A row that is not here yet: the page is fetched as a whole, once things have calmed down.
  let rebuild; const whole = () => { clearTimeout(rebuild); rebuild = setTimeout(async () => {
    const r = await fetch(location.href, html); if (!r.ok) return;
    const neu = new DOMParser().parseFromString(await r.text(), 'text/html').querySelector('main');
    if (neu) { $('main').replaceWith(neu); dress(neu); tick(); } }, 1000); };
  const open = () => { if (paused || es || !$('[data-live]')) return; show('wait', 'Connecting');
    es = new EventSource('/api/v1/stream' + (seen ? '?after=' + encodeURIComponent(seen) : ''));
    es.onopen = () => { last = now(); stale.hidden = true; show('live', 'Live'); };
    es.onerror = () => { show('wait', 'Reconnecting'); if (es?.readyState === 2) { es = null; setTimeout(open, 5000); } };
    ['app', 'drift', 'deployment'].forEach(n => es.addEventListener(n, m => { if (m.lastEventId) seen = m.lastEventId; ring(m); }));
    ['hello', 'beat'].forEach(n => es.addEventListener(n, m => { clock(JSON.parse(m.data).now); last = now(); if (stale.hidden === false) { stale.hidden = true; show('live', 'Live'); } }));
    es.addEventListener('resync', () => location.reload()); };
  const close = () => { es?.close(); es = null; };
  const pause = () => { paused = !paused; paused ? (close(), show('paused', 'Paused ' + hms(now()))) : open(); say(paused ? 'Live updates paused' : 'Live updates on'); };
  addEventListener('visibilitychange', () => { clearTimeout(timer);
    if (document.hidden) timer = setTimeout(close, 30000); else open(); });
  // A page that is kept for the back button must not keep its connection: six of them and the next page starves.
  addEventListener('pagehide', close); addEventListener('pageshow', e => { if (e.persisted) open(); });
  setInterval(() => { tick();
    if (!paused && !document.hidden && now() - last > 30000) { show('stale', 'Not live'); stale.hidden = false;
      stale.textContent = `Not live. This is how things were at ${hms(last)} UTC, ${rel((now() - last) / 1000)} ago. Trying again.`; } }, 1000);

  // Keys. They can be switched off (WCAG 2.1.4), and never fire while typing.
  let sel = -1;
  const move = d => { const l = apps().filter(a => !a.hidden && a.offsetParent); if (!l.length) return; $('.sel')?.classList.remove('sel');
    sel = Math.min(l.length - 1, Math.max(0, sel + d)); l[sel].classList.add('sel'); $('.name', l[sel]).focus({ preventScroll: true }); l[sel].scrollIntoView({ block: 'nearest' }); };
  const go = id => { const s = document.getElementById(id); if (s) { location.hash = id; s.tabIndex = -1; s.focus({ preventScroll: true }); } };
  const keys = [['/', 'Filter', () => { q.focus(); q.select(); }], ['j', 'Next app', () => move(1)], ['k', 'Previous app', () => move(-1)],
    ['Enter', 'Open the app'], ['g', 'All apps', () => { location.href = $('.brand').href }], ['y', 'Copy the suggested command', () => { const c = $('.sel .cmd code') || $('main .cmd code'); if (c) copy(c.textContent); }],
    ['d', 'Drift', () => go('drift')], ['p', 'Plan', () => go('plan')], ['r', 'Objects', () => go('objects')], ['h', 'History', () => go('history')], ['e', 'Events', () => go('events')],
    ['[', 'Previous app page', () => $('[rel=prev]')?.click()], [']', 'Next app page', () => $('[rel=next]')?.click()],
    ['.', 'Pause live updates', pause], ['t', 'Theme', nextTheme], ['?', 'This help', () => help()]];
  let dlg;
  const help = () => { if (!dlg) { dlg = document.createElement('dialog'); dlg.setAttribute('aria-labelledby', 'kh');
      dlg.innerHTML = '<h2 id="kh">Keyboard</h2><ul class="keys">' + keys.map(k => `<li>${k[1]}<kbd>${k[0]}</kbd></li>`).join('') +
        '</ul><p><label><input type="checkbox" id="kon"> Single-key shortcuts</label></p><form method="dialog"><button class="btn">Close</button></form>';
      document.body.append(dlg); $('#kon').onchange = e => mem.set('keys', e.target.checked ? 'on' : 'off'); }
    $('#kon').checked = mem.get('keys') !== 'off'; dlg.showModal(); };
  $('#help').hidden = false; $('#help').onclick = help;
  addEventListener('keydown', e => { if (e.ctrlKey || e.metaKey || e.altKey || dlg?.open) return;
    if (e.target === q && e.key === 'Escape') { q.value = ''; if (front && !paged) filter(); q.blur(); return; }
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName) || mem.get('keys') === 'off') return;
    const k = keys.find(x => x[0] === e.key); if (k && k[2]) { e.preventDefault(); k[2](); } });

  document.readyState === 'complete' ? open() : addEventListener('load', open); tick();
})();
