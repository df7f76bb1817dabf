// The reader's time and zone, the theme, the notebook within, and a look every half minute at pages that are alive.
(function(){
var root=document.documentElement,zone=Intl.DateTimeFormat().resolvedOptions().timeZone||'';
function times(){document.querySelectorAll('time[datetime]').forEach(function(t){if(t.dataset.done)return;t.dataset.done='1';
 var d=new Date(t.getAttribute('datetime'));if(isNaN(d))return;t.title=t.textContent;
 t.textContent=d.toLocaleString(root.lang==='en'?[]:root.lang,{dateStyle:'medium',timeStyle:'short'});});}
var z=document.getElementById('zone');if(z&&zone)z.textContent=z.dataset.word+': '+zone;
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
 pause.addEventListener('click',function(){on=!on;var was=pause.textContent;pause.textContent=pause.dataset.other;pause.dataset.other=was;pause.setAttribute('aria-pressed',String(!on));});
 setInterval(function(){if(!on||document.hidden||(main.contains(document.activeElement)))return;
  fetch(location.href,{credentials:'same-origin'}).then(function(r){return r.ok?r.text():Promise.reject();}).then(function(t){
   var fresh=new DOMParser().parseFromString(t,'text/html').getElementById('main');
   var open=Array.prototype.map.call(main.querySelectorAll('details'),function(d){return d.open;});
   if(fresh){main.replaceChildren.apply(main,Array.prototype.slice.call(document.importNode(fresh,true).childNodes));
    main.querySelectorAll('details').forEach(function(d,n){d.open=!!open[n];});times();}}).catch(function(){});},30000);}
var copy=document.getElementById('copy');if(copy&&navigator.clipboard){copy.hidden=false;copy.addEventListener('click',function(){
 navigator.clipboard.writeText(location.href.replace(/([?&])(token|look)=[^&#]*/g,'$1').replace(/[?&]+(#|$)/,'$1'));
 copy.textContent=copy.dataset.done;});}
var words=document.getElementById('words');if(words&&navigator.clipboard){words.hidden=false;words.addEventListener('click',function(){
 navigator.clipboard.writeText(document.querySelector('main').innerText);words.textContent=words.dataset.done;});}
var drop=document.querySelector('[data-hand]');
if(drop){var many=drop.querySelector('input'),kind=drop.querySelector('select'),list=drop.querySelector('ul'),size=Number(drop.dataset.piece);
 var said=function(item,text,state){item.lastChild.textContent=text;item.className=state||'';};
 var hand=function(file){var item=document.createElement('li'),bar=document.createElement('progress');bar.max=file.size||1;bar.value=0;
  bar.setAttribute('aria-label',file.name);item.append(file.name+' ',bar,document.createElement('span'));list.prepend(item);
  var mark=(document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)||[])[1]||'',tries=0;
  var next=function(at){var to=drop.dataset.hand+'/'+kind.value+'?name='+encodeURIComponent(file.name)+'&size='+file.size+'&at='+at;
   fetch(to,{method:'POST',credentials:'same-origin',headers:{'X-XSRFToken':mark},body:file.slice(at,at+size)}).then(function(r){return r.json();})
   .then(function(a){if(a.message&&a.at===undefined){said(item,' '+a.message+' '+(a.fix||''),'failed');return;}
    bar.value=a.at;if(a.said)said(item,' '+a.said,'passed');else{tries=0;next(a.at);}})
   .catch(function(){if(tries++<5)setTimeout(function(){next(at);},1000*tries);else said(item,' The connection broke. Hand it in again.','failed');});};
  next(0);};
 many.addEventListener('change',function(){Array.prototype.forEach.call(many.files,hand);many.value='';});
 drop.addEventListener('dragover',function(e){e.preventDefault();});
 drop.addEventListener('drop',function(e){e.preventDefault();Array.prototype.forEach.call(e.dataTransfer.files,hand);});}
})();
