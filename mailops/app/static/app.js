// The reader's time and zone, the theme, the notebook within, and a look every half minute at pages that are alive.
(function(){
var root=document.documentElement,zone=Intl.DateTimeFormat().resolvedOptions().timeZone||'';
function times(){document.querySelectorAll('time[datetime]').forEach(function(t){if(t.dataset.done)return;t.dataset.done='1';
 var d=new Date(t.getAttribute('datetime'));if(isNaN(d))return;t.title=t.textContent;
 t.textContent=d.toLocaleString([],{dateStyle:'medium',timeStyle:'short'});});}
var z=document.getElementById('zone');if(z&&zone)z.textContent='Times: '+zone;
var dark=matchMedia('(prefers-color-scheme: dark)'),pick=document.getElementById('theme'),frame=document.querySelector('iframe[data-src]');
var made=document.body.dataset.theme,at=location.pathname.replace(/\/mailops(\/.*)?$/,'/');
function theme(){var kept='';try{kept=localStorage.getItem('mailops-theme')||'';}catch(e){}
 if(kept)root.dataset.theme=kept;else delete root.dataset.theme;if(pick)pick.value=kept;
 var now=kept||(dark.matches?'dark':'light');document.cookie='mailops-theme='+now+';path='+at+';samesite=strict';
 var heard=document.cookie.indexOf('mailops-theme='+now)>=0;
 if(heard&&(document.body.dataset.hop||made&&made!==now))location.reload();
 if(frame&&!frame.src)frame.src=frame.dataset.src;}
if(pick)pick.addEventListener('change',function(){try{localStorage.setItem('mailops-theme',pick.value);}catch(e){}theme();});
dark.addEventListener('change',theme);
theme();times();
var main=document.getElementById('main'),pause=document.getElementById('pause');
if(main&&main.dataset.live&&pause){pause.hidden=false;var on=true;
 pause.addEventListener('click',function(){on=!on;pause.textContent=on?'Pause':'Go on';pause.setAttribute('aria-pressed',String(!on));});
 setInterval(function(){if(!on||document.hidden||(main.contains(document.activeElement)))return;
  fetch(location.href,{credentials:'same-origin'}).then(function(r){return r.ok?r.text():Promise.reject();}).then(function(t){
   var fresh=new DOMParser().parseFromString(t,'text/html').getElementById('main');
   var open=Array.prototype.map.call(main.querySelectorAll('details'),function(d){return d.open;});
   if(fresh){main.replaceChildren.apply(main,Array.prototype.slice.call(document.importNode(fresh,true).childNodes));
    main.querySelectorAll('details').forEach(function(d,n){d.open=!!open[n];});times();}}).catch(function(){});},30000);}
var copy=document.getElementById('copy');if(copy&&navigator.clipboard){copy.hidden=false;copy.addEventListener('click',function(){
 navigator.clipboard.writeText(location.href.replace(/([?&])(token|look)=[^&#]*/g,'$1').replace(/[?&]+(#|$)/,'$1'));
 copy.textContent='Copied';});}
})();
