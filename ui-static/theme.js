// Before the first paint, so that nothing flashes: the reader's own choice of theme.
try {
  const theme = localStorage.getItem('lockstep.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch { /* Storage is switched off: the system decides. */ }
